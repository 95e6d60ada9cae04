package build_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build/testdata/values/config"
)

// The tags mean the same to whoever validates before a rollout, and to the filter.
func TestTagsAgreeWithDecoder(t *testing.T) {
	schema := compileSchema(t, schemaOf(t, "testdata/values"))
	for _, tc := range []struct {
		field, value string
		ok           bool
	}{
		{"share", `0`, true},
		{"share", `0.5`, true},
		{"share", `5e-1`, true},
		{"share", `0.51`, false},
		{"share", `-0.1`, false},
		{"port", `1`, true},
		{"port", `0`, false},
		{"port", `65536`, false},
		{"signed", `-3`, true},
		{"signed", `-4`, false},
		{"signed", `9223372036854775806`, true},
		{"signed", `9223372036854775807`, false},
		{"pointer", `7`, true},
		{"pointer", `8`, false},
		{"pointer", `null`, true},
		{"code", `"ab"`, true},
		{"code", `"äöü"`, true},
		{"code", `"a"`, false},
		{"code", `""`, false},
		{"code", `"abcd"`, false},
		{"slug", `"abc"`, true},
		{"slug", `"ab1"`, false},
		{"slug", `""`, false},
		{"digit", `"a1b"`, true},
		{"digit", `"ab"`, false},
		{"mode", `"fast"`, true},
		{"mode", `""`, false},
		{"mode", `"medium"`, false},
		{"unset", `""`, true},
		{"unset", `"c"`, false},
		{"letters", `"AB"`, true},
		{"letters", `"ABC"`, false},
		{"methods", `["GET","PUT"]`, true},
		{"methods", `[]`, false},
		{"methods", `["GET","PUT","GET"]`, false},
		{"methods", `["POST"]`, false},
		{"methods", `[""]`, false},
		{"names", `[]`, true},
		{"names", `[""]`, false},
		{"grid", `[[1,2,3]]`, true},
		{"grid", `[[10]]`, false},
		{"grid", `[[1],[2]]`, false},
		{"weights", `{"a":1,"b":100}`, true},
		{"weights", `{}`, false},
		{"weights", `{"a":1,"b":1,"c":1}`, false},
		{"weights", `{"a":0}`, false},
		{"weights", `{"a":101}`, false},
		{"numbers", `[0,1]`, true},
		{"numbers", `[0,-1]`, false},
		{"wait", `0`, true},
		{"wait", `-1`, false},
		{"header", `"X-A"`, true},
		{"header", `"x a"`, false},
		{"header", `":path"`, false},
		{"header", `""`, false},
		{"deep", `{"level":5}`, true},
		{"deep", `{"level":6}`, false},
		{"maybe", `{"level":0}`, false},
		{"maybe", `null`, true},
		{"routes", `{}`, true},
		{"routes", `{"default":{"level":1},"rules":[{"match":{},"config":{}}]}`, true},
		{"routes", `{"default":{"level":0}}`, false},
		{"routes", `{"rules":[{"config":{}}]}`, false},
		{"routes", `{"rules":[{"match":{}}]}`, false},
		{"routes", `{"rules":[{"match":{"hosts":[]},"config":{}}]}`, false},
		{"routes", `{"rules":[{"match":{"hosts":["a.example"],"methods":["GET"],"route":"r","path":{"prefix":"/"},"headers":[{"name":"X-A","exact":""}]},"config":{"level":2}}]}`, true},
		{"routes", `{"rules":[{"match":{"headers":[{"name":"x-a","exact":null}]},"config":{}}]}`, true},
		{"routes", `{"rules":[{"match":{"headers":[{"exact":"1"}]},"config":{}}]}`, false},
		{"routes", `{"rules":[{"match":{"method":"GET"},"config":{}}]}`, false},
	} {
		t.Run(tc.field+" "+tc.value, func(t *testing.T) {
			agree(t, schema, []byte(fmt.Sprintf(`{%q:%s}`, tc.field, tc.value)), new(config.Config), tc.ok)
		})
	}
}

func TestDefaults(t *testing.T) {
	deep := config.Deep{Level: 3}
	byDefault := config.Config{Port: 8080, Mode: "slow", Names: []string{"x"}, Wait: time.Microsecond, Header: "x-key", Deep: deep}
	for _, tc := range []struct {
		name, config string
		want         func(*config.Config)
	}{
		{"nothing given", ``, func(*config.Config) {}},
		{"a zero that is given stays", `{"wait":0,"names":[]}`, func(w *config.Config) { w.Wait, w.Names = 0, []string{} }},
		{"a value that is given stays", `{"port":1,"header":"X-B"}`, func(w *config.Config) { w.Port, w.Header = 1, "x-b" }},
		{"within an object that is given", `{"deep":{"note":"n"}}`, func(w *config.Config) { w.Deep.Note = "n" }},
		{"within a pointer that is given", `{"maybe":{}}`, func(w *config.Config) { w.Maybe = &deep }},
		{"within a list", `{"routes":{"rules":[{"match":{},"config":{}}]}}`, func(w *config.Config) { w.Routes.Rules = []sdk.Rule[config.Deep]{{Config: deep}} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := byDefault
			tc.want(&want)
			var got config.Config
			if err := sdk.DecodeConfig([]byte(tc.config), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}
