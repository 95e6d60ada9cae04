package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration.
func TestReadmeExampleIsAConfiguration(t *testing.T) {
	f := sdktest.New(t, configure, readmetest.Read(t).Config(), sdktest.Clock(now))
	wantPassed(t, f.Do(get("/health")))
	wantDenied(t, f.Do(get("/admin")), 401, "no_token")
}

// The README names every field of the configuration and every reason.
func TestReadmeIsComplete(t *testing.T) {
	readme := readmetest.Read(t)
	readmetest.ListsFields[Config](readme)
	readmetest.ListsFields[Rule](readme)
	var names []string
	for _, v := range []any{TokenHeader{}, Forward{}, PathMatch{}, HeaderMatch{}, Condition{}} {
		for field := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	for _, r := range reasons() {
		names = append(names, "`"+r+"`")
	}
	for _, name := range names {
		if !strings.Contains(readme.Text, name) {
			t.Errorf("README.md says nothing of %s", name)
		}
	}
}
