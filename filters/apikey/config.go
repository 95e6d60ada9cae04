package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/waft-project/waft/filters/internal/clients"
	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter apikey. Requests that no rule is about have the default's access; without a
// default, they need a key that is known.
type Config struct {
	sdk.Rules[clients.Access]
	// Keys are the keys that are known.
	Keys []Key `json:"keys" minItems:"1" maxItems:"20000"`
	// From are the places where a request may carry its key. A request with more than one key is denied.
	From []Source `json:"from,omitempty" minItems:"1" maxItems:"4" default:"[{\"header\":\"x-api-key\"}]"`
	// ClientHeader is the request header that tells the upstream whose key it was. What a client sends under that name is taken
	// away from every request.
	ClientHeader sdk.HeaderName `json:"clientHeader,omitempty" default:"x-client-id"`
	// KeepKey leaves the key in the request that goes to the upstream.
	KeepKey bool `json:"keepKey,omitempty"`
}

// Key is a key that is known. Several may be of one client, so that a new one can replace an old one.
type Key struct {
	// Client is whose key it is.
	Client string `json:"client" minLength:"1" maxLength:"256"`
	// SHA256 is the SHA-256 hash of the key, in 64 hexadecimal digits: what printf %s KEY | sha256sum prints.
	SHA256 Hash `json:"sha256"`
	// NotAfter is when the key ends. Without it, it does not.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Hash is a SHA-256 hash.
type Hash [sha256.Size]byte

// UnmarshalText takes 64 hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("want the %d hexadecimal digits of a SHA-256 hash, got %d characters", hex.EncodedLen(len(h)), len(text))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("want hexadecimal digits: %w", err)
	}
	return nil
}

// Source is a place where a key may stand: header or query, not both.
type Source struct {
	// Header is the request header that holds the key.
	Header sdk.HeaderName `json:"header,omitempty"`
	// Scheme stands before the key in the header, such as Bearer. Without it the key is the whole value.
	Scheme string `json:"scheme,omitempty" maxLength:"64"`
	// Query is the parameter of the query that holds the key. Mind that queries end up in logs.
	Query string `json:"query,omitempty" maxLength:"64"`
}
