package main

import "github.com/waft-project/waft/sdk"

// Config is the plugin configuration: authorizers by rule. Requests without one pass untouched.
type Config struct {
	sdk.Rules[Authorizer]
	// CacheEntries is how many answers each worker remembers.
	CacheEntries int `json:"cacheEntries,omitempty" min:"1" max:"1000000" default:"10000"`
}

// Authorizer is a service that says whether requests may pass.
type Authorizer struct {
	// Skip lets the requests of the rule pass without being asked about. It stands alone.
	Skip bool `json:"skip,omitempty"`
	// Cluster is the name of the service's cluster in Envoy's configuration.
	Cluster string `json:"cluster,omitempty" maxLength:"256"`
	// Authority is the host that the service is called by. Left out, the cluster's name.
	Authority string `json:"authority,omitempty" maxLength:"256"`
	// PathPrefix stands before the request's own path in the path that the service is asked with.
	PathPrefix string `json:"pathPrefix,omitempty" maxLength:"1024"`
	// Send are the headers of the request that the service is told, besides authorization.
	Send []sdk.HeaderName `json:"send,omitempty" maxItems:"64"`
	// Forward are the headers of the service's answer that go upstream with a request that passes, in the place of what the
	// client sent under these names.
	Forward []sdk.HeaderName `json:"forward,omitempty" maxItems:"64"`
	// Reply are the headers of the service's answer that go to the client with a request that is denied.
	Reply []sdk.HeaderName `json:"reply,omitempty" maxItems:"64" default:"[\"www-authenticate\",\"location\",\"content-type\"]"`
	// TimeoutMilliseconds is how long the service may take.
	TimeoutMilliseconds int `json:"timeoutMilliseconds,omitempty" min:"1" max:"60000" default:"1000"`
	// FailOpen lets requests pass when the service does not answer, or with a 5xx. Their Forward headers are taken away.
	FailOpen bool `json:"failOpen,omitempty"`
	// FailStatus answers requests when the service does not answer and FailOpen is not set.
	FailStatus int `json:"failStatus,omitempty" min:"400" max:"599" default:"503"`
	// MaxCacheSeconds is how long an answer is remembered at most, if it says so itself by cache-control: max-age. 0: never.
	MaxCacheSeconds int `json:"maxCacheSeconds,omitempty" min:"0" max:"86400" default:"0"`
}
