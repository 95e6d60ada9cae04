package sdk_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// hooks is a handler made of functions; those that are nil let the event pass.
type hooks struct {
	request  func(r *sdk.Request) sdk.Action
	response func(r *sdk.Response) sdk.Action
	done     func(s *sdk.Stream)
}

func (h *hooks) NewHandler() sdk.Handler { return h }

func (h *hooks) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if h.request == nil {
		return sdk.Continue
	}
	return h.request(r)
}

func (h *hooks) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if h.response == nil {
		return sdk.Continue
	}
	return h.response(r)
}

func (h *hooks) OnStreamDone(s *sdk.Stream) {
	if h.done != nil {
		h.done(s)
	}
}

// run makes a filter of a handler.
func run(t *testing.T, f sdk.Filter, opts ...sdktest.Option) *sdktest.Filter {
	t.Helper()
	return sdktest.New(t, func(*sdk.Plugin, *struct{}) (sdk.Filter, error) { return f, nil }, "", opts...)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := &hooks{request: func(r *sdk.Request) sdk.Action {
		headers := r.Headers()
		if v, ok := headers.Get("X-MULTI"); v != "a" || !ok {
			t.Errorf("first value %q, %v", v, ok)
		}
		if v, ok := headers.Get("x-empty"); v != "" || !ok {
			t.Errorf("an empty header is %q, %v", v, ok)
		}
		if v, ok := headers.Get("x-none"); v != "" || ok {
			t.Errorf("an absent header is %q, %v", v, ok)
		}
		if got := headers.Values("x-multi"); !slices.Equal(got, []string{"a", "b, c"}) {
			t.Errorf("values %q", got)
		}
		if got := headers.Values("x-none"); got != nil {
			t.Errorf("values of an absent header: %q", got)
		}
		if v, _ := headers.Get("x-bytes"); v != "\xff\x00" {
			t.Errorf("bytes %q", v)
		}
		if got := []string{r.Method(), r.Path(), r.Authority(), r.Scheme()}; !slices.Equal(got, []string{"PUT", "/p?q", "waft.test", "http"}) {
			t.Errorf("pseudo-headers %q", got)
		}
		// All of them are known by now, and each change shows all the same.
		for _, step := range []struct {
			change func() error
			want   string
		}{
			{func() error { return headers.Set("x-none", "0") }, "0"},
			{func() error { return headers.Add("x-none", "1") }, "0|1"},
			{func() error { return headers.Set("x-none", "2") }, "2"},
			{func() error { return headers.Remove("x-none") }, ""},
		} {
			if err := step.change(); err != nil {
				t.Error(err)
			}
			if got := strings.Join(headers.Values("x-none"), "|"); got != step.want {
				t.Errorf("x-none is %q, want %q", got, step.want)
			}
		}
		// A loop goes on over what it began with, whatever it changes.
		seen := 0
		for name := range headers.All() {
			seen++
			if err := errors.Join(headers.Remove(name), headers.Set("x-new", name)); err != nil && !strings.HasPrefix(name, ":") {
				t.Error(err)
			}
		}
		if seen != 8 {
			t.Errorf("the loop saw %d headers, want 8", seen)
		}
		pairs, err := headers.Pairs()
		if err != nil || len(pairs) != 1 || pairs[0].Name != "x-new" {
			t.Errorf("left over: %q, %v", pairs, err)
		}
		if pairs, err := r.Trailers().Pairs(); err != nil || len(pairs) != 0 {
			t.Errorf("trailers in the headers event: %q, %v", pairs, err)
		}
		return sdk.Continue
	}}
	f := run(t, h)
	for range 2 { // the second time with what the first left behind
		f.Do(sdktest.Request{Method: "PUT", Path: "/p?q", Headers: sdktest.Headers("x-multi", "a", "x-empty", "", "x-multi", "b, c", "x-bytes", "\xff\x00")})
	}
}

func TestHeadersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, header, value string }{
		{"a line break in the value", "x-a", "1\r\nx-admin: yes"},
		{"LF", "x-a", "1\n"},
		{"NUL", "x-a", "1\x00"},
		{"no name", "", "1"},
		{"only a colon", ":", "1"},
		{"a space in the name", "x a", "1"},
		{"a line break in the name", "x-a\r\nx-b", "1"},
		{"no ASCII in the name", "x-é", "1"},
		{"a colon inside the name", "x:a", "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, &hooks{request: func(r *sdk.Request) sdk.Action {
				for _, err := range []error{r.Headers().Set(test.header, test.value), r.Headers().Add(test.header, test.value)} {
					if !errors.Is(err, sdk.ErrBadArgument) {
						t.Errorf("error %v", err)
					}
				}
				return sdk.Continue
			}}).Do(sdktest.Request{})
			if len(got.Upstream.Headers) != 4 {
				t.Errorf("headers %q", got.Upstream.Headers)
			}
		})
	}
}

func TestHeadersInOtherEvents(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"kept": true, "not kept": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := ""
			if keep {
				want = "set"
			}
			got := run(t, &hooks{
				request: func(r *sdk.Request) sdk.Action {
					if keep {
						r.Headers().Keep()
					}
					if err := r.Headers().Set("x-a", "set"); err != nil {
						t.Error(err)
					}
					return sdk.Continue
				},
				response: func(r *sdk.Response) sdk.Action {
					if v, _ := r.Request().Headers().Get("x-a"); v != want {
						t.Errorf("x-a with the response is %q, want %q", v, want)
					}
					if err := r.Request().Headers().Set("x-b", "1"); !errors.Is(err, sdk.ErrBadArgument) {
						t.Errorf("changing the request with the response: %v", err)
					}
					return sdk.Continue
				},
				done: func(s *sdk.Stream) {
					if v, _ := s.Request().Headers().Get("x-a"); v != "set" {
						t.Errorf("x-a at the end is %q", v)
					}
					if s.Response().Status() != 200 {
						t.Errorf("status at the end is %d", s.Response().Status())
					}
					if err := s.Response().Headers().Set("x-b", "1"); err == nil {
						t.Error("a finished response was changed")
					}
				},
			}).Do(sdktest.Request{})
			if got.Upstream.Has("x-b") || got.Response.Has("x-b") {
				t.Error("x-b was set")
			}
		})
	}
}

// TestStreamsShareNothing runs a stream on what an earlier one left.
func TestStreamsShareNothing(t *testing.T) {
	t.Parallel()
	f := run(t, &hooks{
		request: func(r *sdk.Request) sdk.Action {
			if r.Path() == "/first" {
				r.Headers().Keep()
				return r.Reply(sdk.Reply{Status: 403})
			}
			if r.Stream().Answered() {
				t.Error("a new stream is answered already")
			}
			return sdk.Continue
		},
		response: func(r *sdk.Response) sdk.Action {
			if v := r.Request().Path(); v != "" {
				t.Errorf("the path of another stream: %q", v)
			}
			return sdk.Continue
		},
	})
	f.Do(sdktest.Request{Path: "/first", Headers: sdktest.Headers("x-secret", "1")})
	if got := f.Do(sdktest.Request{Path: "/second"}); got.Response.Status() != 200 {
		t.Errorf("status %d", got.Response.Status())
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	got := run(t, &hooks{request: func(r *sdk.Request) sdk.Action {
		p := r.Properties()
		text, err := p.String("xds.route_name")
		same(t, "string", text, "r", err)
		text, err = p.String("empty")
		same(t, "empty string", text, "", err)
		data, err := p.Bytes("empty")
		same(t, "empty bytes are not nil", data != nil && len(data) == 0, true, err)
		number, err := p.Int64("source.port")
		same(t, "int", number, 4711, err)
		share, err := p.Float64("share")
		same(t, "float", share, 0.25, err)
		on, err := p.Bool("connection.mtls")
		same(t, "bool", on, true, err)
		took, err := p.Duration("took")
		same(t, "duration", took, time.Second, err)
		at, err := p.Time("request.time")
		same(t, "time", at.Equal(when), true, err)
		text, err = p.String(sdk.PropertyPath("metadata", "envoy.lb", "canary"))
		same(t, "path with dots in an element", text, "yes", err)
		for path, want := range map[string]string{"source.port": "4711", "connection.mtls": "true", "request.time": "2026-05-06T07:08:09.00000001Z", "xds.route_name": "r"} {
			text, err = p.Text(path)
			same(t, "text of "+path, text, want, err)
		}
		_, err = p.String("none")
		var fault *sdk.HostError
		if !errors.Is(err, sdk.ErrNotFound) || !errors.As(err, &fault) || err.Error() != "get property none: host answered NOT_FOUND" {
			t.Errorf("a property that is not there: %v", err)
		}
		if _, err = p.Int64("xds.route_name"); !errors.Is(err, sdk.ErrParseFailure) {
			t.Errorf("a string as a number: %v", err)
		}
		if _, err = p.Bool("xds.route_name2"); !errors.Is(err, sdk.ErrParseFailure) {
			t.Errorf("a string as a boolean: %v", err)
		}
		if _, err = p.Map("xds.route_name2"); !errors.Is(err, sdk.ErrParseFailure) {
			t.Errorf("a string as a map: %v", err)
		}
		if err := p.Set("mine", []byte("v")); err != nil {
			t.Error(err)
		}
		text, err = p.String("mine")
		same(t, "a property of its own", text, "v", err)
		if err := p.Set("a.b", nil); !errors.Is(err, sdk.ErrBadArgument) {
			t.Errorf("setting a path: %v", err)
		}
		return sdk.Continue
	}}).Do(sdktest.Request{Properties: map[string]any{
		"xds.route_name": "r", "xds.route_name2": "ab", "empty": "", "source.port": 4711, "share": 0.25, "connection.mtls": true, "took": time.Second,
		"request.time": when, "metadata.envoy.lb.canary": "yes",
	}})
	if got.Upstream == nil {
		t.Error("the request did not pass")
	}
}

func same[T comparable](t *testing.T, what string, got, want T, err error) {
	t.Helper()
	if got != want || err != nil {
		t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	got := run(t, &hooks{request: func(r *sdk.Request) sdk.Action {
		l := r.Log()
		l.Trace("t")
		l.Debug("")
		l.Info("i\xff")
		l.Warn("w")
		l.Error("e")
		l.Critical("c")
		l.Tracef("%d", 1)
		l.Debugf("%d", 2)
		l.Infof("%d", 3)
		l.Warnf("%d", 4)
		l.Errorf("%d", 5)
		l.Criticalf("%d", 6)
		return sdk.Continue
	}}).Do(sdktest.Request{})
	want := []string{"trace: t", "debug: ", "info: i\xff", "warn: w", "error: e", "critical: c", "trace: 1", "debug: 2", "info: 3", "warn: 4", "error: 5", "critical: 6"}
	if !slices.Equal(got.Logs, want) {
		t.Errorf("lines %q, want %q", got.Logs, want)
	}
}
