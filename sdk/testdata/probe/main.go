// Command probe is a filter for the tests of package sdk: it does what the request's path says, so that scenarios show each
// part of the sdk as compiled Wasm.
package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

// config is the configuration of the probe.
type config struct {
	// Fail says how configuring fails.
	Fail string `json:"fail,omitempty" enum:"error,panic,nil,metric"`
	// Limit is the limit of buffered bodies.
	Limit int `json:"limit,omitempty"`
}

// Validate refuses negative limits.
func (c *config) Validate() error {
	if c.Limit < 0 {
		return sdk.ConfigErrorf("limit", "must not be negative")
	}
	return nil
}

// probe is the configured filter.
type probe struct {
	config *config
	count  sdk.Counter
	gauge  sdk.Gauge
	sizes  sdk.Histogram
}

func configure(p *sdk.Plugin, c *config) (sdk.Filter, error) {
	switch c.Fail {
	case "error":
		return nil, errors.New("told to fail")
	case "panic":
		var nothing map[string]int
		nothing[c.Fail] = 1
	case "nil":
		return nil, nil
	case "metric":
		_, err := p.Gauge("waft.requests." + p.Name())
		return nil, err
	}
	f := &probe{config: c}
	var err error
	if f.count, err = p.Counter("probe.count", sdk.Tag{Name: "a.b", Value: "x y"}, sdk.Tag{Name: "empty"}); err != nil {
		return nil, err
	}
	if f.gauge, err = p.Gauge("probe.gauge"); err != nil {
		return nil, err
	}
	if f.sizes, err = p.Histogram("probe.sizes"); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *probe) NewHandler() sdk.Handler { return &handler{probe: f} }

// handler handles a stream: do is the first element of its path.
type handler struct {
	*probe
	do string
}

// boom panics when the path names the event.
func (h *handler) boom(event string) {
	if h.do == "panic-"+event {
		var nothing *config
		panic("limit " + strconv.Itoa(nothing.Limit))
	}
}

func (h *handler) OnRequestHeaders(r *sdk.Request) sdk.Action {
	headers := r.Headers()
	h.do = strings.TrimPrefix(r.Path(), "/")
	h.count.Inc()
	h.gauge.Set(7)
	h.sizes.Record(uint64(len(h.do)))
	h.boom("request-headers")
	switch h.do {
	case "reply":
		return r.Reply(sdk.Reply{Status: 403, Headers: []sdk.Header{{Name: "x-why", Value: "no"}, {Name: "x-why", Value: "never"}, {Name: "x-bad", Value: "a\r\nx-admin: b"}}, Body: []byte("denied"), Details: "probe denied"})
	case "reply-json":
		return r.Reply(sdk.Reply{Status: 429, Headers: []sdk.Header{{Name: "content-type", Value: "application/json"}}, Body: []byte("{}")})
	case "reply-empty":
		return r.Reply(sdk.Reply{Status: 204})
	case "reply-zero":
		return r.Reply(sdk.Reply{})
	case "reply-forgotten":
		r.Reply(sdk.Reply{Status: 401})
		return sdk.Continue
	case "headers":
		h.headers(r)
	case "properties":
		h.properties(r)
	case "keep":
		headers.Keep()
		h.set(headers, "x-late", "set after Keep")
	case "rewrite", "grow":
		h.check(r.Log(), headers.Remove("content-length"))
	}
	return sdk.Continue
}

// headers writes what it reads back into headers.
func (h *handler) headers(r *sdk.Request) {
	headers := r.Headers()
	first, _ := headers.Get("X-Multi")
	_, absent := headers.Get("x-none")
	empty, present := headers.Get("x-empty")
	bytes, _ := headers.Get("x-bytes")
	h.set(headers, "x-first", first)
	h.set(headers, "x-all", strings.Join(headers.Values("x-multi"), "|"))
	h.set(headers, "x-absent", strconv.FormatBool(absent))
	h.set(headers, "x-was-empty", strconv.FormatBool(empty == "" && present))
	h.set(headers, "x-bytes-back", bytes)
	h.set(headers, "x-set-empty", "")
	h.check(r.Log(), headers.Add("x-added", "1"), headers.Add("x-added", ""), headers.Add("X-Added", "3"))
	h.check(r.Log(), headers.Remove("x-gone"), headers.Remove("x-never-there"))
	for _, err := range []error{headers.Set("x-split", "a\r\nx-admin: b"), headers.Set("bad name", "a"), headers.Add("", "a"), r.Stream().Response().Headers().Set("x-early", "1")} {
		if !errors.Is(err, sdk.ErrBadArgument) {
			r.Log().Errorf("want BAD_ARGUMENT, got %v", err)
		}
	}
	n := 0
	for range headers.All() {
		n++
	}
	if pairs, err := headers.Pairs(); err != nil || len(pairs) != n {
		r.Log().Errorf("%d pairs, %d in the loop, %v", len(pairs), n, err)
	}
	if pairs, err := r.Trailers().Pairs(); err != nil || len(pairs) != 0 {
		r.Log().Errorf("trailers %v, %v", pairs, err)
	}
}

// properties writes what it reads into headers.
func (h *handler) properties(r *sdk.Request) {
	p := r.Properties()
	name, err := p.String("plugin_name")
	h.check(r.Log(), err)
	h.set(r.Headers(), "x-plugin", name)
	method, err := p.Text("request.method")
	h.check(r.Log(), err)
	h.set(r.Headers(), "x-method", method)
	mtls, err := p.Bool("connection.mtls")
	h.check(r.Log(), err)
	h.set(r.Headers(), "x-mtls", strconv.FormatBool(mtls))
	h.check(r.Log(), p.Set("probe_empty", nil), p.Set("probe_bytes", []byte("\x00\xff")))
	empty, err := p.Bytes("probe_empty")
	h.check(r.Log(), err)
	bytes, err := p.Bytes("probe_bytes")
	h.check(r.Log(), err)
	h.set(r.Headers(), "x-own", strconv.Itoa(len(empty))+strconv.Quote(string(bytes)))
	_, err = p.String("no.such.property")
	h.set(r.Headers(), "x-missing", strconv.FormatBool(errors.Is(err, sdk.ErrNotFound)))
	_, err = p.Int64("plugin_name")
	h.set(r.Headers(), "x-wrong-type", strconv.FormatBool(errors.Is(err, sdk.ErrParseFailure)))
	started, err := p.Time("request.time")
	h.check(r.Log(), err)
	if now := r.Stream().Now(); now.Before(started) || now.Sub(started).Hours() > 1 {
		r.Log().Errorf("now is %v, the request came at %v", now, started)
	}
}

func (h *handler) set(headers *sdk.Headers, name, value string) {
	if err := headers.Set(name, value); err != nil {
		panic(err)
	}
}

func (h *handler) check(log sdk.Logger, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		log.Errorf("unexpected: %v", err)
	}
}

func (h *handler) RequestBodyLimit() int { return h.config.Limit }

func (h *handler) OnBufferedRequestBody(r *sdk.Request, b *sdk.Body) sdk.Action {
	h.boom("request-body")
	data, err := b.Bytes()
	h.check(r.Log(), err)
	r.Log().Infof("request body of %d bytes, %d read", b.Len(), len(data))
	switch h.do {
	case "reply-body":
		return r.Reply(sdk.Reply{Status: 422, Body: []byte("bad body")})
	case "rewrite":
		h.check(r.Log(), b.Replace([]byte(strings.ToUpper(string(data)))), b.Append([]byte(">")), b.Prepend([]byte("<")))
	case "grow":
		grown := strings.Repeat(string(data), 10_000)
		h.check(r.Log(), b.Replace([]byte(grown)))
		back, err := b.Bytes()
		h.check(r.Log(), err)
		r.Log().Infof("%d bytes, as they were written: %v", len(back), string(back) == grown)
	}
	return sdk.Continue
}

func (h *handler) OnResponseHeaders(r *sdk.Response) sdk.Action {
	h.boom("response-headers")
	switch h.do {
	case "keep":
		late, _ := r.Request().Headers().Get("x-late")
		h.set(r.Headers(), "x-kept", r.Request().Path()+" "+late)
	case "forget":
		h.set(r.Headers(), "x-kept", "<"+r.Request().Path()+">")
	case "reply-response":
		return r.Reply(sdk.Reply{Status: 502, Headers: []sdk.Header{{Name: "x-why", Value: "response"}}, Body: []byte("bad response")})
	case "rewrite", "grow", "stream":
		h.check(r.Log(), r.Headers().Remove("content-length"))
	}
	h.set(r.Headers(), "x-status", strconv.Itoa(r.Status()))
	return sdk.Continue
}

func (h *handler) OnResponseBody(r *sdk.Response, b *sdk.Body) sdk.Action {
	h.boom("response-body")
	if h.do == "stream" && b.Len() > 0 {
		data, err := b.Bytes()
		h.check(r.Log(), err, b.Replace([]byte(strings.ToUpper(string(data)))))
	}
	if h.do == "rewrite" && b.End() {
		h.check(r.Log(), b.Append([]byte("!")))
	}
	return sdk.Continue
}

func (h *handler) OnStreamDone(s *sdk.Stream) {
	h.boom("done")
	if s.Request().Path() == "" {
		s.Log().Error("the path cannot be read at the end")
	}
	_, err := s.Properties().Duration("request.duration")
	h.check(s.Log(), err)
	s.Log().Info("done " + h.do + " " + strconv.Itoa(s.Response().Status()) + " answered " + strconv.FormatBool(s.Answered()))
}
