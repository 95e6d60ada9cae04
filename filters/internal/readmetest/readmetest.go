// Package readmetest holds what the tests of the filters' READMEs share: the example in it is a configuration, and its tables name
// what there is.
package readmetest

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Readme is the README of the filter whose test runs.
type Readme struct {
	t    testing.TB
	Text string
}

// Read reads README.md of the folder that the test runs in.
func Read(t testing.TB) Readme {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return Readme{t, string(text)}
}

// Config is the README's first YAML block, as the JSON that a filter is configured with.
func (r Readme) Config() string {
	r.t.Helper()
	_, block, ok := strings.Cut(r.Text, "```yaml\n")
	if !ok {
		r.t.Fatal("README.md has no block of YAML")
	}
	block, _, _ = strings.Cut(block, "```")
	var config any
	if err := yaml.Unmarshal([]byte(block), &config); err != nil {
		r.t.Fatal(err)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

// Lists fails the test for each name that begins no row of a table.
func (r Readme) Lists(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if !strings.Contains(r.Text, "| `"+name+"` |") {
			r.t.Errorf("README.md says nothing of %s", name)
		}
	}
}

// ListsFields fails the test for each field of T's configuration that begins no row of a table.
func ListsFields[T any](r Readme) {
	r.t.Helper()
	for field := range reflect.TypeFor[T]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); !field.Anonymous && name != "" && name != "-" {
			r.Lists(name)
		}
	}
}
