package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{})
	if left := got.Response.Get("ratelimit-remaining"); left != "49" {
		t.Errorf("ratelimit-remaining %q, want 49", left)
	}
	readmetest.ListsFields[Config](readme)
	readmetest.ListsFields[Limit](readme)
}
