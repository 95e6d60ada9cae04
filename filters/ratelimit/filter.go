package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/waft-project/waft/filters/internal/keytable"
	"github.com/waft-project/waft/sdk"
)

// What a limit counts by, as Limit.By says.
const (
	byClient = "client"
	byRoute  = "route"
	byHeader = "header"
)

// Which responses carry the headers, as Config.Headers says.
const (
	headersNever  = "never"
	headersAlways = "always"
)

// details is the answer's response code details.
const details = "ratelimit_denied"

// limit is a compiled Limit.
type limit struct {
	bucket
	// id tells limits apart in the table.
	id         uint64
	by, header string
	status     int
	shadow     bool
}

// filter is the configured filter.
type filter struct {
	rules   *sdk.Selector[*limit]
	table   *keytable.Table
	headers string

	allowed, denied, evicted, failed sdk.Counter
}

func configure(p *sdk.Plugin, c *Config) (sdk.Filter, error) {
	f := &filter{headers: c.Headers}
	var err error
	if f.rules, err = sdk.CompileRules("", &c.Rules, compile); err != nil {
		return nil, err
	}
	if len(f.rules.All()) == 0 {
		return nil, sdk.ConfigErrorf("default", "there is neither a default nor a rule")
	}
	for i, l := range f.rules.All() {
		l.id = uint64(i)
	}
	if f.table, err = keytable.Open(p.SharedData(), "ratelimit", c.Slots); err != nil {
		return nil, err
	}
	var errs [4]error
	f.allowed, errs[0] = p.Counter("ratelimit.allowed")
	f.denied, errs[1] = p.Counter("ratelimit.denied")
	f.evicted, errs[2] = p.Counter("ratelimit.evicted")
	f.failed, errs[3] = p.Counter("ratelimit.failed")
	return f, errors.Join(errs[:]...)
}

func compile(at string, c *Limit) (*limit, error) {
	if (c.By == byHeader) != (c.Header != "") {
		return nil, sdk.ConfigErrorf(at+".header", "by: header needs it, and nothing else takes it")
	}
	burst := c.Burst
	if burst == 0 {
		burst = c.Requests
	}
	return &limit{
		bucket: newBucket(c.Requests, burst, units[c.Per]), by: c.By, header: string(c.Header), status: c.Status, shadow: c.Shadow,
	}, nil
}

// NewHandler makes a handler that remembers the verdict, if responses show it.
func (f *filter) NewHandler() sdk.Handler {
	if f.headers == headersAlways {
		return &announcer{filter: f}
	}
	return f
}

// OnRequestHeaders lets the request pass, or answers it.
func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	action, _, _ := f.decide(r)
	return action
}

// announcer tells the client on every response what is left.
type announcer struct {
	*filter
	limit   *limit
	verdict verdict
}

// OnRequestHeaders is [filter.OnRequestHeaders].
func (a *announcer) OnRequestHeaders(r *sdk.Request) (action sdk.Action) {
	action, a.limit, a.verdict = a.decide(r)
	return action
}

// OnResponseHeaders adds the headers.
func (a *announcer) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if a.limit != nil {
		for _, h := range a.limit.announce(a.verdict) {
			if err := r.Headers().Set(h.Name, h.Value); err != nil {
				r.Log().Error(err.Error())
			}
		}
	}
	return sdk.Continue
}

// decide finds a request's limit and takes it from the bucket. The limit is nil where there is none, or nothing is known of it.
func (f *filter) decide(r *sdk.Request) (sdk.Action, *limit, verdict) {
	l, ok := f.rules.For(r)
	if !ok {
		return sdk.Continue, nil, verdict{}
	}
	var v verdict
	now := r.Stream().Now().UnixNano()
	evicted, err := f.table.Update(l.appendKey(nil, r), now, func(s *keytable.Slot) bool {
		s.Until, v = l.take(s.Until, now)
		return v.ok
	})
	if err != nil {
		// Other workers were faster again and again: the limit is a protection, no permission.
		f.failed.Inc()
		r.Log().Error("the request is not counted: " + err.Error())
		return sdk.Continue, nil, verdict{}
	}
	if evicted {
		f.evicted.Inc()
	}
	if v.ok {
		f.allowed.Inc()
		return sdk.Continue, l, v
	}
	f.denied.Inc()
	if l.shadow {
		return sdk.Continue, l, v
	}
	reply := sdk.Reply{Status: l.status, Details: details, Body: []byte("too many requests\n")}
	reply.Headers = append(reply.Headers, sdk.Header{Name: "retry-after", Value: seconds(v.wait)})
	if f.headers != headersNever {
		reply.Headers = append(reply.Headers, l.announce(v)...)
	}
	return r.Reply(reply), l, v
}

// announce is a verdict for the client.
func (l *limit) announce(v verdict) []sdk.Header {
	return []sdk.Header{
		{Name: "ratelimit-limit", Value: strconv.FormatInt(l.burst, 10)},
		{Name: "ratelimit-remaining", Value: strconv.FormatInt(v.remaining, 10)},
		{Name: "ratelimit-reset", Value: seconds(v.full)},
	}
}

// seconds is a time in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
