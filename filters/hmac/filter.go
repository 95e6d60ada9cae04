package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/waft-project/waft/filters/internal/clients"
	"github.com/waft-project/waft/filters/internal/headername"
	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter.
type filter struct {
	rules        *sdk.Selector[*clients.Rule]
	verifier     verifier
	replays      *replays
	maxBody      int
	clientHeader string

	allowed, public sdk.Counter
	denied          map[reason]sdk.Counter
}

// exchange is one request.
type exchange struct {
	*filter
	// digest is what the body's must be, while it is awaited.
	digest  mac
	awaited bool
}

var (
	_ sdk.Filter                     = (*filter)(nil)
	_ sdk.RequestHeadersHandler      = (*exchange)(nil)
	_ sdk.BufferedRequestBodyHandler = (*exchange)(nil)
	_ sdk.RequestTrailersHandler     = (*exchange)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	keys, err := compileKeys(config.Keys)
	if err != nil {
		return nil, err
	}
	if err := checkRequired(config.Require); err != nil {
		return nil, err
	}
	f := &filter{
		verifier: verifier{
			keys: keys, label: config.Label, require: config.Require,
			maxAge: time.Duration(config.MaxAgeSeconds) * time.Second, skew: time.Duration(config.ClockSkewSeconds) * time.Second,
		},
		maxBody: config.MaxBodyBytes, clientHeader: string(config.ClientHeader),
	}
	if f.replays, err = openReplays(p.SharedData(), config.RememberedSignatures); err != nil {
		return nil, err
	}
	known := knownClients(keys)
	f.rules, err = sdk.CompileRules("", &config.Rules, func(at string, c *clients.Access) (*clients.Rule, error) { return clients.Compile(at, c, known) })
	if err != nil {
		return nil, err
	}
	var errs [3]error
	f.allowed, errs[0] = p.Counter("hmac.allowed")
	f.public, errs[1] = p.Counter("hmac.public")
	f.denied, errs[2] = sdk.CountersBy(p, "hmac.denied", "reason", reasons()...)
	return f, errors.Join(errs[:]...)
}

// NewHandler makes the handler of one request.
func (f *filter) NewHandler() sdk.Handler { return &exchange{filter: f} }

// OnRequestHeaders checks the signature. A body is awaited then.
func (x *exchange) OnRequestHeaders(r *sdk.Request) sdk.Action {
	headers := r.Headers()
	rule, _ := x.rules.For(r)
	if rule.Public() {
		if err := headername.Strip(headers, x.clientHeader); err != nil {
			return x.fail(r, err)
		}
		x.public.Inc()
		return sdk.Continue
	}
	now := r.Stream().Now()
	s, why := x.verifier.verify(headers, !r.End(), now)
	if why == "" {
		why = x.expectBody(r, &s)
	}
	if why == "" && !rule.Lets(s.client) {
		why = reasonClient
	}
	if why == "" {
		var err error
		if why, err = x.replays.use(&s, now); err != nil {
			return x.fail(r, err)
		}
	}
	if why != "" {
		return x.deny(r, why)
	}
	if err := headername.Strip(headers, x.clientHeader); err != nil {
		return x.fail(r, err)
	}
	if err := headers.Set(x.clientHeader, s.client); err != nil {
		return x.fail(r, err)
	}
	if !x.awaited {
		x.allowed.Inc()
	}
	return sdk.Continue
}

// expectBody notes the digest that the signature vouches for. A request that ends with its headers has the empty body.
func (x *exchange) expectBody(r *sdk.Request, s *signed) reason {
	if !s.coversBody {
		return ""
	}
	var why reason
	if x.digest, why = bodyDigest(r.Headers()); why != "" {
		return why
	}
	if !r.End() {
		x.awaited = true
		return ""
	}
	return x.compare(nil)
}

// compare checks a whole body.
func (x *exchange) compare(body []byte) reason {
	sum := sha256.Sum256(body)
	if !hmac.Equal(sum[:], x.digest[:]) {
		return reasonDigest
	}
	return ""
}

// RequestBodyLimit is the longest body that is held. One that nobody vouches for, on a public path, passes as it comes.
func (x *exchange) RequestBodyLimit() int {
	if !x.awaited {
		return sdk.PassBody
	}
	return x.maxBody
}

// OnBufferedRequestBody checks the body, before any of it goes upstream.
func (x *exchange) OnBufferedRequestBody(r *sdk.Request, body *sdk.Body) sdk.Action {
	if !x.awaited {
		return sdk.Continue
	}
	data, err := body.Bytes()
	if err != nil {
		return x.fail(r, err)
	}
	return x.finish(r, data)
}

// OnRequestTrailers checks a body that never came: trailers may follow the headers at once.
func (x *exchange) OnRequestTrailers(r *sdk.Request) sdk.Action {
	if !x.awaited {
		return sdk.Continue
	}
	return x.finish(r, nil)
}

func (x *exchange) finish(r *sdk.Request, body []byte) sdk.Action {
	x.awaited = false
	if why := x.compare(body); why != "" {
		return x.deny(r, why)
	}
	x.allowed.Inc()
	return sdk.Continue
}

// fail answers a request that could not be read or changed: the upstream would take a client's word for it.
func (x *exchange) fail(r *sdk.Request, err error) sdk.Action {
	r.Log().Error("hmac: " + err.Error())
	return r.Reply(sdk.Reply{Status: 500, Body: []byte("the request could not be checked\n"), Details: "hmac_failed"})
}
