package sdk_test

import (
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

// TestProbe runs the sdk as compiled Wasm.
func TestProbe(t *testing.T) { filtertest.Run(t, "testdata/probe") }
