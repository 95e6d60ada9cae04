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

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The README's first YAML block is a whole configuration.
func TestReadmeExampleIsAConfiguration(t *testing.T) {
	_, block, _ := strings.Cut(readme(t), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	var config any
	if err := yaml.Unmarshal([]byte(block), &config); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	f := sdktest.New(t, configure, string(raw), sdktest.Clock(now))
	wantPassed(t, f.Do(get("/health")))
	wantDenied(t, f.Do(get("/admin")), 401, "no_token")
}

// The README names every field of the configuration and every reason.
func TestReadmeIsComplete(t *testing.T) {
	text := readme(t)
	var names []string
	for _, v := range []any{Config{}, Rule{}} {
		for field := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names = append(names, "| `"+name+"` |")
		}
	}
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
		if !strings.Contains(text, name) {
			t.Errorf("README.md says nothing of %s", name)
		}
	}
}
