package model

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	for _, test := range []struct {
		name, config string
		want         SecretRef
		err          string
	}{
		{name: "a file", config: `{"$secret":{"file":"/etc/waft/a b"}}`, want: SecretRef{File: "/etc/waft/a b"}},
		{name: "a variable", config: `{"$secret":{"env":"_A9"}}`, want: SecretRef{Env: "_A9"}},
		{name: "a kept secret as a person names it", config: `{"$secret":{"name":"token"}}`, want: SecretRef{Name: "token"}},
		{name: "a kept secret", config: `{"$secret":{"layer":"team/a","name":"token","version":12}}`, want: SecretRef{Layer: "team/a", Name: "token", Version: 12}},
		{name: "no name of a kept secret", config: `{"$secret":{"name":"Hunter2 hunter2"}}`, err: "no name of a secret"},
		{name: "no layer", config: `{"$secret":{"name":"a","layer":"hunter2"}}`, err: "as the layer is none"},
		{name: "a layer that takes filters out", config: `{"$secret":{"name":"a","layer":"emergency/a"}}`, err: "as the layer is none"},
		{name: "a version that is none", config: `{"$secret":{"name":"a","version":0}}`, err: "$secret.version: it is no version"},
		{name: "a version in words", config: `{"$secret":{"name":"a","version":"hunter2"}}`, err: "it is no version"},
		{name: "a broken version", config: `{"$secret":{"name":"a","version":1.5}}`, err: "it is no version"},
		{name: "a huge version", config: `{"$secret":{"name":"a","version":9007199254740993}}`, err: "it is no version"},
		{name: "a version of a file", config: `{"$secret":{"file":"/a","version":1}}`, err: "beside what has none"},
		{name: "a layer alone", config: `{"$secret":{"layer":"global"}}`, err: "names no secret"},
		{name: "a kept secret and a file", config: `{"$secret":{"name":"a","file":"/a"}}`, err: "more than one"},
		{name: "the value itself", config: `{"$secret":"hunter2"}`, err: "not how a secret is named"},
		{name: "nothing", config: `{"$secret":null}`, err: "not how a secret is named"},
		{name: "no name", config: `{"$secret":{}}`, err: "names no secret"},
		{name: "two names", config: `{"$secret":{"env":"A","file":"/a"}}`, err: "more than one"},
		{name: "something beside it", config: `{"$secret":{"env":"A"},"value":"hunter2"}`, err: "nothing beside it"},
		{name: "another kind", config: `{"$secret":{"vault":"hunter2"}}`, err: `not named by "vault"`},
		{name: "a number", config: `{"$secret":{"env":1}}`, err: "$secret.env: it is not a string"},
		{name: "an empty name", config: `{"$secret":{"file":""}}`, err: "an empty one"},
		{name: "a relative path", config: `{"$secret":{"file":"hunter2"}}`, err: "not absolute"},
		{name: "a path with ..", config: `{"$secret":{"file":"/etc/waft/../hunter2"}}`, err: "without . and .."},
		{name: "a path with a line's end", config: `{"$secret":{"file":"/hunter2\n"}}`, err: "what a path should not"},
		{name: "the root", config: `{"$secret":{"file":"/"}}`, err: "not absolute"},
		{name: "a long path", config: `{"$secret":{"file":"/` + strings.Repeat("x", MaxSecretFile) + `"}}`, err: "more than 256"},
		{name: "no variable's name", config: `{"$secret":{"env":"hunter2 "}}`, err: "no name of a variable"},
		{name: "a digit first", config: `{"$secret":{"env":"2hunter2"}}`, err: "no name of a variable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var value any
			if err := json.Unmarshal([]byte(test.config), &value); err != nil {
				t.Fatal(err)
			}
			got, err := ParseSecret("at", value)
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, %v; want %v, %q", got, err, test.want, test.err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has what may be the value: %v", err)
			}
			if err == nil {
				if again, err := Secrets([]byte(test.config)); err != nil || len(again) != 1 || again[0].Ref != got || !NamesSecret([]byte(test.config)) {
					t.Errorf("%v, %v", again, err)
				}
			}
		})
	}
}

func TestReplaceSecrets(t *testing.T) {
	for _, test := range []struct{ name, config, want string }{
		{"none", `{"a": 1.50, "b": "\u0041"}`, `{"a": 1.50, "b": "\u0041"}`},
		{"none, though it looks so", `{"a":"\"$secret\":{}"}`, `{"a":"\"$secret\":{}"}`},
		{"no JSON", `$secret`, `$secret`},
		{"the whole", `{"$secret":{"env":"A"}}`, `"<env:A at >"`},
		{"inside", `{"b c":[{"d":{"$secret":{"env":"A"}}}],"n":12345678901234567890.10}`, `{"b c":[{"d":"<env:A at [\"b c\"][0].d>"}],"n":12345678901234567890.10}`},
		{"written with escapes", `{"\u0024secret":{"file":"/a"}}`, `"<file:/a at >"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReplaceSecrets([]byte(test.config), func(use SecretUse) (string, error) {
				return "<" + use.Ref.String() + " at " + use.Path + ">", nil
			})
			if err != nil || string(got) != test.want {
				t.Errorf("%s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestReleasesNameSecretsWell(t *testing.T) {
	release := func(config string) Release {
		return Release{ID: ReleaseID{Name: "a"}, Layer: LayerGlobal, Filters: []FilterSpec{{Name: "f", Config: json.RawMessage(config)}}}
	}
	if err := ValidateRelease(release(`{"a":{"$secret":{"env":"A"}}}`)); err != nil {
		t.Error(err)
	}
	if err := ValidateRelease(release(`{"a":[{"$secret":"hunter2"}]}`)); err == nil || !strings.Contains(err.Error(), "release/a: spec.filters[0].config.a[0]: this is not how a secret is named") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	var many bytes.Buffer
	for i := range MaxChainSecrets + 1 {
		many.WriteString(`{"$secret":{"env":"A` + strings.Repeat("B", i) + `"}},`)
	}
	if err := ValidateRelease(release("[" + many.String() + "0]")); err == nil || !strings.Contains(err.Error(), "65 secrets, more than 64") {
		t.Errorf("%v", err)
	}
}

func FuzzReplaceSecrets(f *testing.F) {
	f.Add([]byte(`{"a":[{"$secret":{"file":"/a"}}]}`))
	f.Add([]byte(`{"a":{"$secret":{"env":"A"},"b":1}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		canonical, err := Canonical(config)
		if err != nil {
			return
		}
		uses, err := Secrets(canonical)
		if err == nil && NamesSecret(canonical) != (len(uses) > 0) {
			t.Errorf("%d secrets, %v, %v: %s", len(uses), NamesSecret(canonical), err, canonical)
		}
		if err != nil && !NamesSecret(canonical) {
			t.Errorf("%v in what names none: %s", err, canonical)
		}
	})
}
