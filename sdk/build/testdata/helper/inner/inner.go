// Package inner registers a filter for its main package.
package inner

import waft "github.com/waft-project/waft/sdk"

type config struct {
	// Depth is how deep.
	Depth int `json:"depth"`
}

type filter struct{}

// Register registers the filter.
func Register() {
	waft.Register[config](func(*waft.Plugin, *config) (waft.Filter, error) { return filter{}, nil })
}

func (filter) NewHandler() waft.Handler { return nil }
