package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{
		Method: "POST", Path: "/orders", Headers: sdktest.Headers("content-type", "application/json"), Body: `{"id":"a","count":0}`,
	})
	if got.Details != "validate_schema" {
		t.Errorf("a count of 0: %s", got.Details)
	}
	for why := range statuses {
		readme.Lists(string(why))
	}
	readmetest.ListsFields[Policy](readme)
}
