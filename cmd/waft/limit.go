package main

import "github.com/waft-project/waft/distributor/model"

// limit is a flag's cap on nodes: 20, or 5%.
type limit model.Cap

// Set is pflag.Value's.
func (l *limit) Set(text string) error {
	parsed, err := model.ParseCap(text)
	if err == nil {
		*l = limit(parsed)
	}
	return err
}

// String is pflag.Value's.
func (l *limit) String() string { return model.Cap(*l).String() }

// Type is pflag.Value's.
func (l *limit) Type() string { return "N|P%" }
