package main

import (
	"errors"

	"github.com/waft-project/waft/filters/internal/clients"
	"github.com/waft-project/waft/filters/internal/headername"
	"github.com/waft-project/waft/sdk"
)

// filter is the configured filter. It keeps nothing per stream, so it is the handler of every stream.
type filter struct {
	rules        *sdk.Selector[*clients.Rule]
	keys         keyring
	sources      []source
	clientHeader string
	keepKey      bool

	allowed, public sdk.Counter
	denied          map[reason]sdk.Counter
}

// reason says why a request is denied: a tag of the counter apikey.denied, and a part of the response code details.
type reason string

const (
	// reasonNoKey: the request carries no key.
	reasonNoKey reason = "no_key"
	// reasonManyKeys: it carries more than one; which of them counts would be a guess.
	reasonManyKeys reason = "many_keys"
	// reasonUnknown: the key is not known.
	reasonUnknown reason = "unknown_key"
	// reasonExpired: the key has ended.
	reasonExpired reason = "expired_key"
	// reasonClient: the key is good, but its client is not let in here.
	reasonClient reason = "client"
)

func reasons() []reason {
	return []reason{reasonNoKey, reasonManyKeys, reasonUnknown, reasonExpired, reasonClient}
}

var (
	_ sdk.Filter                = (*filter)(nil)
	_ sdk.RequestHeadersHandler = (*filter)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	f := &filter{clientHeader: string(config.ClientHeader), keepKey: config.KeepKey}
	var err error
	if f.keys, err = newKeyring(config.Keys); err != nil {
		return nil, err
	}
	if f.sources, err = compileSources(config.From); err != nil {
		return nil, err
	}
	known := map[string]struct{}{}
	for _, k := range config.Keys {
		known[k.Client] = struct{}{}
	}
	f.rules, err = sdk.CompileRules("", &config.Rules, func(at string, c *clients.Access) (*clients.Rule, error) { return clients.Compile(at, c, known) })
	if err != nil {
		return nil, err
	}
	var errs [3]error
	f.allowed, errs[0] = p.Counter("apikey.allowed")
	f.public, errs[1] = p.Counter("apikey.public")
	f.denied, errs[2] = sdk.CountersBy(p, "apikey.denied", "reason", reasons()...)
	return f, errors.Join(errs[:]...)
}

// NewHandler is the filter itself.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders lets the request pass, or denies it.
func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	headers := r.Headers()
	rule, _ := f.rules.For(r)
	if rule.Public() {
		if err := headername.Strip(headers, f.clientHeader); err != nil {
			return f.fail(r, err)
		}
		f.public.Inc()
		return sdk.Continue
	}
	carried := find(headers, f.sources)
	id, why := f.judge(r, rule, &carried)
	if why != "" {
		f.denied[why].Inc()
		return r.Reply(why.reply())
	}
	if err := f.admit(headers, &carried, id); err != nil {
		return f.fail(r, err)
	}
	f.allowed.Inc()
	return sdk.Continue
}

// judge says whose key a request carries, or why it is denied.
func (f *filter) judge(r *sdk.Request, rule *clients.Rule, carried *found) (*identity, reason) {
	switch {
	case carried.keys == 0:
		return nil, reasonNoKey
	case carried.keys > 1:
		return nil, reasonManyKeys
	}
	id := f.keys.find(carried.key)
	switch {
	case id == nil:
		return nil, reasonUnknown
	case !id.notAfter.IsZero() && r.Stream().Now().After(id.notAfter):
		return nil, reasonExpired
	case !rule.Lets(id.client):
		return nil, reasonClient
	}
	return id, ""
}

// admit takes the key away and says whose it was.
func (f *filter) admit(headers *sdk.Headers, carried *found, id *identity) error {
	if !f.keepKey {
		if err := carried.source.remove(headers); err != nil {
			return err
		}
	}
	if err := headername.Strip(headers, f.clientHeader); err != nil {
		return err
	}
	return headers.Set(f.clientHeader, id.client)
}

// reply is the answer to a request that is denied: 403 for a good key in the wrong place, 401 for all else, alike, so that it
// tells nothing about keys.
func (why reason) reply() sdk.Reply {
	reply := sdk.Reply{
		Status: 401, Body: []byte("a valid API key is needed\n"), Details: "apikey_" + string(why),
		Headers: []sdk.Header{{Name: "cache-control", Value: "no-store"}, {Name: "www-authenticate", Value: "ApiKey"}},
	}
	if why == reasonClient {
		reply.Status, reply.Body, reply.Headers = 403, []byte("the API key does not grant access\n"), reply.Headers[:1]
	}
	return reply
}

// fail answers a request whose headers could not be changed: the upstream would take a client's word for it.
func (f *filter) fail(r *sdk.Request, err error) sdk.Action {
	r.Log().Error("apikey: " + err.Error())
	return r.Reply(sdk.Reply{Status: 500, Body: []byte("the request could not be prepared\n"), Details: "apikey_failed"})
}
