package main

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field and every reason.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	f := sdktest.New(t, configure, readme.Config())
	if got := f.Do(sdktest.Request{Path: "/health"}); got.Upstream == nil {
		t.Errorf("/health is denied: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Path: "/"}); got.Upstream != nil {
		t.Error("everybody is let in")
	}
	for _, r := range reasons() {
		if !strings.Contains(readme.Text, "`"+string(r)+"`") {
			t.Errorf("README.md says nothing of the reason %s", r)
		}
	}
	readmetest.ListsFields[Config](readme)
}
