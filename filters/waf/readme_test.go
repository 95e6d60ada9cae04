package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every group of rules.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	f := sdktest.New(t, configure, readme.Config())
	if got := f.Do(sdktest.Request{Path: "/?q=shoes", Headers: browser, Properties: properties}); got.Upstream == nil {
		t.Errorf("a page is refused: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Path: "/?id=1%27%20OR%20%271%27=%271", Headers: browser, Properties: properties}); got.Upstream != nil {
		t.Error("an attack passes")
	}
	for _, g := range groups {
		readme.Lists(g.name)
	}
}
