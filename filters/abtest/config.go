package main

import "github.com/waft-project/waft/sdk"

// Config is the configuration of the filter abtest.
type Config struct {
	// Experiments are looked at one after the other; a request may take part in several.
	Experiments []Experiment `json:"experiments" minItems:"1" maxItems:"100"`
}

// Experiment splits requests between variants.
type Experiment struct {
	// Name is letters, digits, - and _. It is part of the hash, so that experiments split differently, and of metrics.
	Name string `json:"name" minLength:"1" maxLength:"64"`
	// Match says which requests take part; without it, all do.
	Match sdk.Match `json:"match,omitzero"`
	// Header is the request header that says the variant, for Envoy's routes and the upstream. What a client sends under that
	// name is taken away from every request.
	Header sdk.HeaderName `json:"header"`
	// ResponseHeader is a response header that says the variant. Without it, responses do not say.
	ResponseHeader sdk.HeaderName `json:"responseHeader,omitempty"`
	// Variants are what requests are split between; the first one is the control. Their percent make 100.
	Variants []Variant `json:"variants" minItems:"1" maxItems:"20"`
	// Force gives requests that match a variant, whatever else would be chosen. The first one that matches counts.
	Force []Force `json:"force,omitempty" maxItems:"100"`
	// Key is what a request is known by: the same key always gets the same variant. A request without it gets the control,
	// unless there is a cookie. Without a key and a cookie, each request is split by chance.
	Key Key `json:"key,omitzero"`
	// Cookie remembers the variant at the client, also when the percent change later.
	Cookie Cookie `json:"cookie,omitzero"`
}

// Variant is what some requests get.
type Variant struct {
	// Name is letters, digits, - and _.
	Name string `json:"name" minLength:"1" maxLength:"64"`
	// Percent is the share of the requests, in steps of 0.001.
	Percent float64 `json:"percent" min:"0" max:"100"`
	// Host is put in the place of the request's host.
	Host string `json:"host,omitempty" maxLength:"255"`
	// PathPrefix is put before the request's path, such as /v2.
	PathPrefix string `json:"pathPrefix,omitempty" maxLength:"1024"`
}

// Force gives requests that match a variant.
type Force struct {
	// Match says which requests.
	Match sdk.Match `json:"match"`
	// Variant is the name of the variant.
	Variant string `json:"variant"`
}

// Key says what a request is known by; exactly one of its fields is set.
type Key struct {
	// Header is a request header, such as one with the user's id.
	Header sdk.HeaderName `json:"header,omitempty"`
	// Cookie is a cookie that something else sets, such as a session.
	Cookie string `json:"cookie,omitempty" maxLength:"64"`
	// Address is the client's IP address, Envoy's source.address.
	Address bool `json:"address,omitempty"`
}

// Cookie is a cookie that holds the variant's name.
type Cookie struct {
	// Name of the cookie. Without it there is none.
	Name string `json:"name,omitempty" maxLength:"64"`
	// MaxAgeSeconds is how long clients keep it.
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty" min:"1" max:"34560000" default:"2592000"`
	// Path is where clients send it.
	Path string `json:"path,omitempty" default:"/"`
}
