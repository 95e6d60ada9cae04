package main

import "github.com/waft-project/waft/sdk"

// Config is the plugin configuration: budgets by rule. Requests without one pass untouched.
type Config struct {
	sdk.Rules[Budget]
	// Slots is how many keys are told apart at a time, by all budgets together. One takes 24 bytes.
	Slots int `json:"slots,omitempty" min:"64" max:"1048576" default:"8192"`
}

// Budget is how many tokens each key has.
type Budget struct {
	// Tokens is how many tokens in each window.
	Tokens int64 `json:"tokens" min:"1" max:"1000000000000"`
	// Per is the window. Windows begin at whole minutes, hours and days, UTC.
	Per string `json:"per,omitempty" enum:"minute,hour,day" default:"minute"`
	// Header is the request header whose value is the key. Requests without it share one budget.
	Header sdk.HeaderName `json:"header,omitempty" default:"authorization"`
	// Count says which tokens count.
	Count string `json:"count,omitempty" enum:"total,prompt,completion" default:"total"`
	// BytesPerToken is what an estimate goes by, where a service does not say what it counted.
	BytesPerToken float64 `json:"bytesPerToken,omitempty" min:"0.5" max:"100" default:"4"`
	// Shadow lets every request pass, and counts those that would have been denied.
	Shadow bool `json:"shadow,omitempty"`
}
