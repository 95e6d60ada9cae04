package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every group of rules.
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
	if got := f.Do(sdktest.Request{Path: "/?q=shoes", Headers: browser, Properties: properties}); got.Upstream == nil {
		t.Errorf("a page is refused: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Path: "/?id=1%27%20OR%20%271%27=%271", Headers: browser, Properties: properties}); got.Upstream != nil {
		t.Error("an attack passes")
	}
	for _, g := range groups {
		if !strings.Contains(string(text), "| `"+g.name+"` |") {
			t.Errorf("README.md says nothing of the group %s", g.name)
		}
	}
}
