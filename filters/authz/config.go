package main

import (
	"encoding/json"

	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter authz. A list that is given is not empty: some would read an empty one as "everything", others
// as "nothing".
type Config struct {
	// Issuer is what the claim iss of every token must be, byte for byte.
	Issuer string `json:"issuer" minLength:"1"`
	// Audiences are the values of the claim aud that mean this service. A token must carry at least one of them. Without
	// audiences, a token that carries aud is refused, since it was issued for somebody else.
	Audiences []string `json:"audiences,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// AnyAudience accepts tokens whatever their aud. It excludes audiences.
	AnyAudience bool `json:"anyAudience,omitempty"`
	// JWKS is the JSON Web Key Set (RFC 7517) with the issuer's public keys: {"keys": [...]}. RSA keys of 2048 bits or
	// more verify RS256, EC keys on P-256 ES256, OKP keys on Ed25519 EdDSA, and oct keys of 32 bytes or more HS256.
	// Members that the filter does not know are ignored.
	JWKS json.RawMessage `json:"jwks"`
	// Types are the values of the token header typ that are accepted, such as "at+jwt". Without them typ is not looked at.
	Types []string `json:"types,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// ClockSkewSeconds is the tolerance for the claims exp and nbf, by default that of Envoy's jwt_authn. A wider one than
	// 600 would be a second life for tokens.
	ClockSkewSeconds int64 `json:"clockSkewSeconds,omitempty" min:"0" max:"600" default:"60"`
	// MaxTokenBytes is the length of the longest token that is taken. Envoy's own limit for all headers is 60 KiB.
	MaxTokenBytes int `json:"maxTokenBytes,omitempty" min:"64" max:"49152" default:"8192"`
	// TokenHeaders are the request headers that may carry the token. A request with a token in more than one of them, or in
	// one of them twice, is denied.
	TokenHeaders []TokenHeader `json:"tokenHeaders,omitempty" minItems:"1" maxItems:"4" default:"[{\"name\":\"authorization\",\"scheme\":\"Bearer\"}]"`
	// RemoveToken takes the header with the token away before the request goes to the upstream.
	RemoveToken bool `json:"removeToken,omitempty"`
	// Forward names claims that the upstream gets as request headers. Headers of these names that come from the client
	// are removed from every request, and so are those that differ from them in "_" for "-" only.
	Forward []Forward `json:"forward,omitempty" maxItems:"16"`
	// RememberedTokens is how many verified tokens each worker remembers. 0 verifies every request's token again. Each takes about
	// 300 bytes, itself and the values that it forwards.
	RememberedTokens int `json:"rememberedTokens,omitempty" min:"0" max:"50000" default:"1000"`
	// Realm stands in the WWW-Authenticate header of a 401 and a 403. Empty leaves it out.
	Realm string `json:"realm,omitempty"`
	// RolesClaim is the path to the claim that the shorthand roles of a rule looks at, member names separated by dots. By
	// default "roles".
	RolesClaim string `json:"rolesClaim,omitempty"`
	// IgnoreCase compares paths without regard to case, for upstreams that do.
	IgnoreCase bool `json:"ignoreCase,omitempty"`
	// Rules are tried in their order. The first one whose path, method and headers match decides. A request that none
	// matches is denied.
	Rules []Rule `json:"rules" minItems:"1" maxItems:"512"`
}

// TokenHeader names a request header that may carry the token.
type TokenHeader struct {
	// Name of the header.
	Name sdk.HeaderName `json:"name"`
	// Scheme stands before the token, such as Bearer. Empty means that the token is the whole value.
	Scheme string `json:"scheme,omitempty"`
}

// Forward names a claim and the request header that it becomes. Strings go as they are, numbers and booleans as in JSON,
// lists and objects as JSON without spaces. A token whose claim cannot stand in a header is refused; an absent claim is no
// header.
type Forward struct {
	// Claim is the path to the claim, member names separated by dots.
	Claim string `json:"claim,omitempty"`
	// ClaimPath is the path to the claim as a list, for member names with dots in them. It excludes claim.
	ClaimPath []string `json:"claimPath,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// Header is the request header's name.
	Header sdk.HeaderName `json:"header"`
}

// Rule says which requests it is about, and what a token must say to let them in. A rule with neither public nor a
// condition lets every verified token in.
type Rule struct {
	// Path is this path and everything below it, by whole segments: /admin is /admin and /admin/users, not /administrator.
	// / is every path. It is short for paths with one prefix.
	Path string `json:"path,omitempty"`
	// Paths are several paths, of which one must match. It excludes path.
	Paths []PathMatch `json:"paths,omitempty" minItems:"1" maxItems:"256"`
	// Methods are the methods that the rule is about, in upper case. Without them it is about every method.
	Methods []string `json:"methods,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// Headers must all match.
	Headers []HeaderMatch `json:"headers,omitempty" maxItems:"256"`
	// Public lets the requests in without a token. It excludes roles, scopes, allow and allowAny.
	Public bool `json:"public,omitempty"`
	// Roles: the claim rolesClaim must hold one of them.
	Roles []string `json:"roles,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// Scopes: the claim scope, a list or a string of words, must hold all of them.
	Scopes []string `json:"scopes,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// Allow are conditions that must all hold.
	Allow []Condition `json:"allow,omitempty" minItems:"1" maxItems:"256"`
	// AllowAny are conditions of which one must hold.
	AllowAny []Condition `json:"allowAny,omitempty" minItems:"1" maxItems:"256"`
}

// PathMatch has exactly one of its fields set. Paths are compared in their normal form: without query, decoded, without
// a trailing slash.
type PathMatch struct {
	// Exact is this one path, with or without a trailing slash.
	Exact string `json:"exact,omitempty"`
	// Prefix is this path and everything below it, by whole segments.
	Prefix string `json:"prefix,omitempty"`
	// Regex is an expression in RE2 syntax that must match the whole path.
	Regex string `json:"regex,omitempty"`
}

// HeaderMatch has a name and at most one other field set; with none the header must be there. A request in which such a
// header occurs more than once is denied.
type HeaderMatch struct {
	// Name of the request header, or :authority.
	Name string `json:"name"`
	// Exact is the whole value.
	Exact *string `json:"exact,omitempty"`
	// Prefix is what the value begins with.
	Prefix string `json:"prefix,omitempty"`
	// Regex is an expression in RE2 syntax that must match the whole value.
	Regex string `json:"regex,omitempty"`
	// Absent asks that the header is not there.
	Absent bool `json:"absent,omitempty"`
}

// Condition is a question to a claim: claim or claimPath, and exactly one of in, containsAny, containsAll and present.
// Values are strings, numbers and booleans, and equal only values of their own type. An absent claim satisfies nothing.
type Condition struct {
	// Claim is the path to the claim, member names separated by dots.
	Claim string `json:"claim,omitempty"`
	// ClaimPath is the path to the claim as a list, for member names with dots in them. It excludes claim.
	ClaimPath []string `json:"claimPath,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
	// In: the claim is a string, number or boolean and equals one of these.
	In []json.RawMessage `json:"in,omitempty" minItems:"1" maxItems:"256"`
	// ContainsAny: the claim is a list that holds one of these. A single value counts as a list of one.
	ContainsAny []json.RawMessage `json:"containsAny,omitempty" minItems:"1" maxItems:"256"`
	// ContainsAll: the claim is a list that holds all of these. A single value counts as a list of one.
	ContainsAll []json.RawMessage `json:"containsAll,omitempty" minItems:"1" maxItems:"256"`
	// Present asks that the claim is there and not null.
	Present bool `json:"present,omitempty"`
	// Split makes a list of a string claim at this separator, for containsAny and containsAll; " " fits scope.
	Split string `json:"split,omitempty"`
}
