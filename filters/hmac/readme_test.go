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

// The README's first YAML block is a whole configuration, and the README names every field and every reason.
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
	if got := f.Do(sdktest.Request{Path: "/health"}); got.Upstream == nil {
		t.Errorf("/health is denied: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Path: "/"}); got.Upstream != nil {
		t.Error("everybody is let in")
	}
	for _, r := range reasons() {
		if !strings.Contains(string(text), "`"+string(r)+"`") {
			t.Errorf("README.md says nothing of the reason %s", r)
		}
	}
	for field := range reflect.TypeFor[Config]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("README.md says nothing of %s", name)
		}
	}
}
