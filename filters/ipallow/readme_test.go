package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every reason.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	f := sdktest.New(t, configure, readme.Config())
	if got := f.Do(sdktest.Request{Path: "/public", Headers: sdktest.Headers("x-forwarded-for", "198.51.100.1")}); got.Upstream == nil {
		t.Errorf("/public is denied: %s", got.Details)
	}
	if got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-forwarded-for", "198.51.100.1")}); got.Upstream != nil {
		t.Error("everybody is let in")
	}
	for _, r := range []reason{reasonListed, reasonUnlisted, reasonNoRule, reasonNoAddress} {
		readme.Lists(string(r))
	}
}
