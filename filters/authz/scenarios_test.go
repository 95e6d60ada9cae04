package main

import (
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

// TestScenarios runs scenarios/ against the compiled module, under each Envoy profile.
func TestScenarios(t *testing.T) { filtertest.Run(t, ".") }
