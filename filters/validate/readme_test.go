package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	var config any
	if err := yaml.Unmarshal([]byte(block), &config); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	got := sdktest.New(t, configure, string(raw)).Do(sdktest.Request{
		Method: "POST", Path: "/orders", Headers: sdktest.Headers("content-type", "application/json"), Body: `{"id":"a","count":0}`,
	})
	if got.Details != "validate_schema" {
		t.Errorf("a count of 0: %s", got.Details)
	}
	for why := range statuses {
		if !strings.Contains(string(text), "| `"+string(why)+"` |") {
			t.Errorf("README.md says nothing of the reason %s", why)
		}
	}
	for field := range reflect.TypeFor[Policy]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("README.md says nothing of %s", name)
		}
	}
}
