package main

import (
	"github.com/waft-project/waft/sdk"
)

// Config is the plugin configuration: limits by rule, and the table that they share.
type Config struct {
	sdk.Rules[Limit]
	// Slots is how many keys are told apart at a time, by all limits together. One takes 24 bytes.
	Slots int `json:"slots,omitempty" min:"64" max:"1048576" default:"8192"`
	// Headers says which responses carry ratelimit-limit, ratelimit-remaining and ratelimit-reset.
	Headers string `json:"headers,omitempty" enum:"denied,always,never" default:"denied"`
}

// Limit is how many requests each key has.
type Limit struct {
	// Requests is how many requests, on average.
	Requests int64 `json:"requests" min:"1" max:"1000000"`
	// Per is the time that Requests is about.
	Per string `json:"per,omitempty" enum:"second,minute,hour,day" default:"second"`
	// Burst is how many may come at once. Left out, it is Requests.
	Burst int64 `json:"burst,omitempty" min:"1" max:"1000000"`
	// By is what has the limit: each client's address, each route, each value of a header, or all requests together.
	By string `json:"by,omitempty" enum:"client,route,header,all" default:"client"`
	// Header is the header whose value has the limit, for by: header. Requests without it share one.
	Header sdk.HeaderName `json:"header,omitempty"`
	// Status is that of the answer to a request over the limit.
	Status int `json:"status,omitempty" min:"400" max:"599" default:"429"`
	// Shadow lets every request pass, and counts those that would have been denied.
	Shadow bool `json:"shadow,omitempty"`
}
