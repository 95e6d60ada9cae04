package main

import "github.com/waft-project/waft/sdk"

// Config is the configuration of the filter cors: policies by rules. Requests that no rule is about have the default's policy;
// without a default they pass untouched. A preflight has the method OPTIONS, also for rules that name methods.
type Config struct {
	sdk.Rules[Policy]
}

// Policy says which origins may do what.
type Policy struct {
	// AllowOrigins are the origins whose pages may read responses: https://app.example, or https://*.app.example for every
	// host below it, or * for every origin. null is the origin of sandboxed pages, whosever they are.
	AllowOrigins []string `json:"allowOrigins" minItems:"1" maxItems:"1000" maxLength:"512"`
	// AllowMethods are the methods that pages may use, or *. GET, HEAD and POST browsers always allow.
	AllowMethods []string `json:"allowMethods,omitempty" maxItems:"32" minLength:"1" maxLength:"64" default:"[\"GET\",\"HEAD\",\"POST\"]"`
	// AllowHeaders are the request headers that pages may set, besides those that browsers always allow, or *.
	AllowHeaders []sdk.HeaderName `json:"allowHeaders,omitempty" maxItems:"256"`
	// ExposeHeaders are the response headers that pages may read, besides those that browsers always show, or *.
	ExposeHeaders []sdk.HeaderName `json:"exposeHeaders,omitempty" maxItems:"256"`
	// AllowCredentials lets pages send cookies and the like. It excludes every *.
	AllowCredentials bool `json:"allowCredentials,omitempty"`
	// MaxAgeSeconds is how long a browser may remember the answer to a preflight.
	MaxAgeSeconds int `json:"maxAgeSeconds,omitempty" min:"0" max:"86400" default:"600"`
	// DenyOthers answers requests of other origins with 403, instead of leaving it to the browser to hide the response. A
	// page's own origin has to be listed then: browsers send it along with POST.
	DenyOthers bool `json:"denyOthers,omitempty"`
}
