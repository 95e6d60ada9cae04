package main

import (
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
	if got := f.Do(sdktest.Request{Path: "/admin", Headers: sdktest.Headers("x-api-key", "bob-secret-key")}); got.Upstream == nil {
		t.Errorf("bob is denied: %s", got.Details)
	}
	for _, r := range reasons() {
		readme.Lists(string(r))
	}
	readmetest.ListsFields[Config](readme)
}
