package main

import "github.com/waft-project/waft/sdk"

// Config is the plugin configuration: faults by rule. Requests without one pass untouched.
type Config struct {
	sdk.Rules[Fault]
	// MaxActive is how many requests may wait at a time in each worker; others are not delayed.
	MaxActive int `json:"maxActive,omitempty" min:"1" max:"100000" default:"1000"`
}

// Fault is what becomes of some requests.
type Fault struct {
	// Delay makes requests slow.
	Delay *Delay `json:"delay,omitempty"`
	// Abort answers requests with an error, after their delay.
	Abort *Abort `json:"abort,omitempty"`
}

// Delay makes requests slow.
type Delay struct {
	// Percent is the share of requests.
	Percent float64 `json:"percent,omitempty" min:"0" max:"100" default:"0"`
	// Milliseconds is how long they wait.
	Milliseconds int `json:"milliseconds,omitempty" min:"1" max:"60000" default:"100"`
	// Header, if it is set, names a request header by which a request asks for a delay, in milliseconds, whatever Percent says.
	Header sdk.HeaderName `json:"header,omitempty"`
	// MaxMilliseconds is the longest delay that a header may ask for; what is longer is cut to it.
	MaxMilliseconds int `json:"maxMilliseconds,omitempty" min:"1" max:"60000" default:"5000"`
}

// Abort answers requests with an error.
type Abort struct {
	// Percent is the share of requests.
	Percent float64 `json:"percent,omitempty" min:"0" max:"100" default:"0"`
	// Status is the answer's HTTP status.
	Status int `json:"status,omitempty" min:"400" max:"599" default:"503"`
	// GRPCStatus is the status for gRPC requests. Left out, it comes from Status.
	GRPCStatus int `json:"grpcStatus,omitempty" min:"1" max:"16"`
	// Body is the answer's body.
	Body string `json:"body,omitempty" maxLength:"4096" default:"fault injected\n"`
	// Header, if it is set, names a request header by which a request asks for a status, from 400 to 599, whatever Percent says.
	Header sdk.HeaderName `json:"header,omitempty"`
}
