package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{Headers: sdktest.Headers("origin", "https://a.app.example")})
	check(t, &got.Response, map[string]string{"access-control-allow-origin": "https://a.app.example"})
	readmetest.ListsFields[Policy](readme)
}
