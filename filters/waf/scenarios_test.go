package main

import (
	"os"
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

// The compiled scenarios take half a minute or more, since each file reads the rule set anew: `make waf` runs them.
func TestScenarios(t *testing.T) {
	if os.Getenv("WAFT_WAF") == "" {
		t.Skip("WAFT_WAF is not set; `make waf` runs this")
	}
	filtertest.Run(t, ".", "envoy-1.36", "envoy-1.40")
}
