package main

import (
	"github.com/waft-project/waft/filters/authz/internal/jwt"
	"github.com/waft-project/waft/sdk"
)

// denial says how a request is refused. Its reason stands in the metric, in the response code details and in the body.
type denial struct {
	status int
	// code is the error of RFC 6750, section 3.1; "" for a request without a token, which gets a challenge only.
	code string
	// reason is fit for a metric's tag.
	reason string
	// text is for people, fit for error_description.
	text string
}

// The denials that do not come from verifying a token.
var (
	denyNoToken       = denial{401, "", "no_token", "a token is needed"}
	denyManyTokens    = denial{401, "invalid_request", "many_tokens", "more than one token in the request"}
	denyUnforwardable = denial{401, "invalid_token", "unforwardable", "a claim of the token cannot stand in a header"}
	denyRule          = denial{403, "insufficient_scope", "rule", "the token does not grant access"}
	denyNoRule        = denial{403, "insufficient_scope", "no_rule", "nothing grants access"}
	denyAmbiguous     = denial{403, "insufficient_scope", "ambiguous_header", "a header that decides on access occurs more than once"}
	denyPath          = denial{403, "", "path", "the path is ambiguous or cannot be decoded"}
	denyMethod        = denial{403, "", "method", "the method is not accepted"}
)

// deniedToken is the denial for a token that was refused.
func deniedToken(reason jwt.Reason) denial {
	return denial{401, "invalid_token", string(reason), reason.Description()}
}

// reasons are all reasons of denials, in a fixed order: a counter is defined for each when the filter is configured.
func reasons() []string {
	var out []string
	for _, d := range []denial{denyNoToken, denyManyTokens, denyUnforwardable, denyRule, denyNoRule, denyAmbiguous, denyPath, denyMethod} {
		out = append(out, d.reason)
	}
	for _, r := range jwt.Reasons() {
		out = append(out, string(r))
	}
	return out
}

// reply is the answer to a denied request. The challenge of a 403 says that another token may help (RFC 6750, section 3.1);
// where none could, there is none.
func (d denial) reply(realm string) sdk.Reply {
	headers := []sdk.Header{{Name: "cache-control", Value: "no-store"}, {Name: "content-type", Value: "text/plain"}}
	if d.status == 401 || d.code != "" {
		headers = append(headers, sdk.Header{Name: "www-authenticate", Value: d.challenge(realm)})
	}
	return sdk.Reply{
		Status:  d.status,
		Headers: headers,
		Body:    []byte(d.text + "\n"),
		Details: "authz_" + d.reason,
	}
}

// challenge is the value of WWW-Authenticate (RFC 6750, section 3). Realm and text hold no quotes.
func (d denial) challenge(realm string) string {
	out, separator := "Bearer", " "
	add := func(name, value string) {
		if value != "" {
			out += separator + name + `="` + value + `"`
			separator = ", "
		}
	}
	add("realm", realm)
	if d.code != "" {
		add("error", d.code)
		add("error_description", d.text)
	}
	return out
}
