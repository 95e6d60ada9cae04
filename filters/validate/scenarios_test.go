package main

import (
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
)

func TestScenarios(t *testing.T) { filtertest.Run(t, ".") }
