package main

import (
	"testing"

	"github.com/waft-project/waft/filters/internal/readmetest"
	"github.com/waft-project/waft/sdk/sdktest"
)

// The README's first YAML block is a whole configuration, and the README names every field.
func TestReadme(t *testing.T) {
	readme := readmetest.Read(t)
	f := sdktest.New(t, configure, readme.Config())
	f.Do(ask("a"))
	if n := f.Metric("llmbudget.tokens.prompt"); n != 30 {
		t.Errorf("%d prompt tokens, want 30", n)
	}
	readmetest.ListsFields[Config](readme)
	readmetest.ListsFields[Budget](readme)
}
