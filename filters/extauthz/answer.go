package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
)

// answer is what an authorizer said of a question. It is not changed.
type answer struct {
	// err is why there is none.
	err error
	// status is the service's; 2xx lets the request pass.
	status  int
	headers []sdk.Header
	body    []byte
}

// allows says whether the answer lets a request pass.
func (a *answer) allows() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

// failed says whether the authorizer gave no answer that means anything.
func (a *answer) failed() bool { return a.err != nil || a.status >= 500 || a.status < 200 }

// lifetime is how long an answer may be remembered: its own max-age, up to a bound (RFC 9111, section 5.2.2). An answer that does not say
// max-age, or says that it must not be stored, is not remembered; s-maxage counts before max-age, since this cache is shared by
// clients. Failures are never remembered.
func (a *answer) lifetime(bound time.Duration) time.Duration {
	if bound <= 0 || a.failed() {
		return 0
	}
	age, shared := time.Duration(0), false
	for _, h := range a.headers {
		if h.Name != "cache-control" {
			continue
		}
		for directive := range strings.SplitSeq(h.Value, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return 0
			case "s-maxage", "max-age":
				if seconds, ok := delta(value); ok && (name == "s-maxage" || !shared) {
					age, shared = seconds, shared || name == "s-maxage"
				}
			}
		}
	}
	return min(age, bound)
}

// maxDelta bounds a number of seconds, which may have any length.
const maxDelta = 365 * 24 * time.Hour

func delta(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 31)
	return min(time.Duration(n)*time.Second, maxDelta), err == nil
}

// pick gives the headers of the answer that are named.
func (a *answer) pick(names []string) []sdk.Header {
	var out []sdk.Header
	for _, h := range a.headers {
		for _, name := range names {
			if h.Name == name {
				out = append(out, h)
			}
		}
	}
	return out
}
