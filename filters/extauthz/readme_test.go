package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	service := sdktest.Cluster("auth", func(r sdk.FetchRequest) (*sdk.FetchResponse, error) {
		return &sdk.FetchResponse{Status: 200, Headers: sdktest.Headers("x-user", r.Path)}, nil
	})
	got := sdktest.New(t, configure, readme.Config(), service).Do(sdktest.Request{Path: "/a", Headers: sdktest.Headers("x-user", "eve")})
	if got.Upstream == nil || got.Upstream.Get("x-user") != "/check/a" {
		t.Errorf("got %+v", got)
	}
	readmetest.ListsFields[Config](readme)
	readmetest.ListsFields[Authorizer](readme)
}
