package grpccall_test

import (
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

// TestCalls runs a module with protobuf under every profile, the oldest Envoy's included.
func TestCalls(t *testing.T) { filtertest.Run(t, "../testdata/grpccall") }
