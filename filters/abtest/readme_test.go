package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{Path: "/checkout", Headers: sdktest.Headers("x-tester", "1")})
	if variant := got.Upstream.Get("x-checkout"); variant != "canary" {
		t.Errorf("a tester gets %q", variant)
	}
	readmetest.ListsFields[Experiment](readme)
}
