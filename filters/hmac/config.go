package main

import (
	"github.com/waft-project/waft/filters/internal/clients"
	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter hmac. Requests that no rule is about have the default's access; without a default,
// they need a signature by a key that is known.
type Config struct {
	sdk.Rules[clients.Access]
	// Keys are the secrets that are shared with clients.
	Keys []Key `json:"keys" minItems:"1" maxItems:"10000"`
	// Label is the signature that is looked at, where requests carry several. Without it a request must carry one.
	Label string `json:"label,omitempty" maxLength:"64"`
	// Require are the components that every signature must cover: @method, @authority, @path, @query, @scheme, @target-uri,
	// @request-target, and names of headers in lower case. A body must always be covered, by content-digest.
	Require []string `json:"require,omitempty" maxItems:"32" minLength:"1" default:"[\"@method\",\"@authority\",\"@path\",\"@query\"]"`
	// MaxAgeSeconds is how long after its parameter created a signature is taken. 0 leaves it to the parameter expires, which
	// signatures must have then.
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty" min:"0" max:"86400" default:"300"`
	// ClockSkewSeconds is how far the clients' clocks may be off.
	ClockSkewSeconds int64 `json:"clockSkewSeconds,omitempty" min:"0" max:"600" default:"30"`
	// MaxBodyBytes is the longest body that is held until its digest was checked. A longer one is answered with 413.
	MaxBodyBytes int `json:"maxBodyBytes,omitempty" min:"1" max:"16777216" default:"1048576"`
	// RememberedSignatures is how many signatures all workers of an Envoy together remember until they are too old, so that none is
	// used twice. 0 lets a signature be used again. When more are needed, some requests are answered with 503.
	RememberedSignatures int `json:"rememberedSignatures,omitempty" min:"0" max:"1000000" default:"200000"`
	// ClientHeader is the request header that tells the upstream whose signature it was. What a client sends under that name
	// is taken away from every request.
	ClientHeader sdk.HeaderName `json:"clientHeader,omitempty" default:"x-client-id"`
}

// Key is a secret that is shared with a client.
type Key struct {
	// ID is the parameter keyid of the signatures.
	ID string `json:"id" minLength:"1" maxLength:"256"`
	// Client is whose key it is; by default the id.
	Client string `json:"client,omitempty" maxLength:"256"`
	// Secret is the secret in base64, 32 bytes or more.
	Secret []byte `json:"secret"`
}
