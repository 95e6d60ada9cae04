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
	f := sdktest.New(t, configure, string(raw))
	f.Do(ask("a"))
	if n := f.Metric("llmbudget.tokens.prompt"); n != 30 {
		t.Errorf("%d prompt tokens, want 30", n)
	}
	for _, config := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Budget]()} {
		for field := range config.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.Anonymous && !strings.Contains(string(text), "| `"+name+"` |") {
				t.Errorf("README.md says nothing of %s", name)
			}
		}
	}
}
