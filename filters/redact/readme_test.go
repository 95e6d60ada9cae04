package main

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field and every pattern.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	got := sdktest.New(t, configure, readme.Config()).Do(sdktest.Request{Upstream: sdktest.Response{
		Headers: sdktest.Headers("content-type", "application/json"),
		Body:    `{"user":{"name":"Ann","age":7},"note":"ann@shop.example paid ORD-123456 from DE89 3704 0044 0532 0130 00"}`,
	}})
	if !strings.Contains(readme.Text, "    "+got.Response.Body+"\n") {
		t.Errorf("README.md does not show %s", got.Response.Body)
	}
	readmetest.ListsFields[Policy](readme)
	readme.Lists(names()...)
}
