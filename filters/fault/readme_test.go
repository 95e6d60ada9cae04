package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{Path: "/pay", Headers: sdktest.Headers("x-fault-abort", "504")})
	if status := got.Response.Status(); status != 504 {
		t.Errorf("status %d, want 504", status)
	}
	readmetest.ListsFields[Config](readme)
	readmetest.ListsFields[Fault](readme)
	readmetest.ListsFields[Delay](readme)
	readmetest.ListsFields[Abort](readme)
}
