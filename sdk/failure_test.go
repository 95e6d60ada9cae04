package sdk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// brittle panics in one event.
type brittle struct{ event string }

func (b *brittle) NewHandler() sdk.Handler {
	b.at("create")
	return b
}

func (b *brittle) at(event string) sdk.Action {
	if event == b.event {
		var nothing []int
		_ = nothing[len(event)]
	}
	return sdk.Continue
}

func (b *brittle) OnRequestHeaders(*sdk.Request) sdk.Action           { return b.at("request headers") }
func (b *brittle) OnRequestBody(*sdk.Request, *sdk.Body) sdk.Action   { return b.at("request body") }
func (b *brittle) OnRequestTrailers(*sdk.Request) sdk.Action          { return b.at("request trailers") }
func (b *brittle) OnResponseHeaders(*sdk.Response) sdk.Action         { return b.at("response headers") }
func (b *brittle) OnResponseTrailers(*sdk.Response) sdk.Action        { return b.at("response trailers") }
func (b *brittle) OnResponseBody(*sdk.Response, *sdk.Body) sdk.Action { return b.at("response body") }
func (b *brittle) OnStreamDone(*sdk.Stream)                           { b.at("done") }

func TestPanic(t *testing.T) {
	t.Parallel()
	type outcome struct {
		arrives bool
		status  int
		reset   bool
	}
	passes := outcome{true, 200, false}
	tests := []struct {
		event  string
		closed outcome
	}{
		{"create", outcome{false, 500, false}},
		{"request headers", outcome{false, 500, false}},
		{"request body", outcome{false, 500, false}},
		{"request trailers", outcome{false, 500, false}},
		{"response headers", outcome{true, 500, false}},
		{"response body", outcome{true, 200, true}},
		{"response trailers", outcome{true, 200, true}},
		{"done", passes},
		{"none", passes},
	}
	for _, test := range tests {
		for _, policy := range []sdk.FailurePolicy{"", sdk.FailReload, sdk.FailClosed, sdk.FailOpen, "FAIL_TYPO"} {
			t.Run(test.event+"/"+string(policy), func(t *testing.T) {
				t.Parallel()
				f := run(t, &brittle{test.event}, sdktest.Env("WAFT_FAILURE_POLICY", string(policy)), sdktest.Env("WAFT_FILTER", "brittle"))
				got := f.Do(sdktest.Request{Body: "b", Trailers: sdktest.Headers("x-t", "1"), Upstream: sdktest.Response{Body: "ok", Trailers: sdktest.Headers("x-t", "1")}})
				want := test.closed
				if policy == sdk.FailOpen {
					want = passes
				}
				if result := (outcome{got.Upstream != nil, got.Response.Status(), got.Reset}); result != want {
					t.Errorf("got %+v, want %+v", result, want)
				}
				panics := uint64(1)
				if test.event == "none" {
					panics = 0
				}
				if n := f.Metric("waft.panics.brittle"); n != panics {
					t.Errorf("%d panics counted, want %d", n, panics)
				}
				if got.Logged("panic in filter brittle: runtime error: index out of range") != (panics == 1) || got.Logged("failure_test.go") != (panics == 1) {
					t.Errorf("logs %q", got.Logs)
				}
				// The VM goes on.
				if again := f.Do(sdktest.Request{}); test.event == "request body" && again.Response.Status() != 200 {
					t.Errorf("the next request got %d", again.Response.Status())
				}
				if n := f.Metric("waft.requests.brittle"); n != 2 {
					t.Errorf("%d streams counted, want 2", n)
				}
			})
		}
	}
}

// TestPanicAfterReply wants the handler's own answer to stand.
func TestPanicAfterReply(t *testing.T) {
	t.Parallel()
	got := run(t, &hooks{request: func(r *sdk.Request) sdk.Action {
		r.Reply(sdk.Reply{Status: 403})
		panic("late")
	}}, sdktest.Env("WAFT_FAILURE_POLICY", "FAIL_OPEN")).Do(sdktest.Request{})
	if got.Upstream != nil || got.Response.Status() != 403 {
		t.Errorf("upstream %v, status %d", got.Upstream, got.Response.Status())
	}
}

func TestConfigureFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		configure func(*sdk.Plugin, *validated) (sdk.Filter, error)
		config    string
		want      string
	}{
		{"an error", func(*sdk.Plugin, *validated) (sdk.Filter, error) { return nil, errors.New("no keys") }, "", "filter f refuses its configuration: no keys"},
		{"a panic", func(*sdk.Plugin, *validated) (sdk.Filter, error) { panic("boom") }, "", "panic: boom"},
		{"nothing", func(*sdk.Plugin, *validated) (sdk.Filter, error) { return nil, nil }, "", "neither a filter nor an error"},
		{"a wrong field", passAll, `{"max":"7"}`, "max: want a whole number"},
		{"refused by Validate", passAll, `{"max":-1}`, "max: must not be negative"},
		{"a metric of another kind", func(p *sdk.Plugin, _ *validated) (sdk.Filter, error) {
			_, err := p.Gauge("waft.requests.f")
			return nil, err
		}, "", "define metric waft.requests.f as a gauge: it is a counter already"},
		{"taken", passAll, `{"max":1}`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, test.configure, test.config, sdktest.Env("WAFT_FILTER", "f"))
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

type validated struct {
	Max int `json:"max,omitempty"`
}

// Validate refuses negative numbers.
func (v *validated) Validate() error {
	if v.Max < 0 {
		return sdk.ConfigErrorf("max", "must not be negative")
	}
	return nil
}

func passAll(*sdk.Plugin, *validated) (sdk.Filter, error) {
	return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
}

func TestNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts []sdktest.Option
		want string
	}{
		{"told by the environment", []sdktest.Option{sdktest.Env("WAFT_FILTER", "env"), sdktest.Property("plugin_name", "plugin")}, "env"},
		{"the plugin's name", []sdktest.Option{sdktest.Property("plugin_name", "plugin")}, "plugin"},
		{"an empty plugin name", []sdktest.Option{sdktest.Property("plugin_name", "")}, "filter"},
		{"none", nil, "filter"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, func(p *sdk.Plugin, _ *validated) (sdk.Filter, error) {
				if p.Name() != test.want || p.FailurePolicy() != sdk.FailReload || string(p.Configuration()) != "{}" {
					t.Errorf("name %q, policy %q, configuration %q", p.Name(), p.FailurePolicy(), p.Configuration())
				}
				return passAll(p, nil)
			}, "{}", test.opts...)
			// A nil handler lets the stream pass, and it is counted.
			if got := f.Do(sdktest.Request{Body: "x"}); got.Upstream == nil || got.Response.Body != "ok" {
				t.Errorf("got %+v", got)
			}
			if n := f.Metric("waft.requests." + test.want); n != 1 {
				t.Errorf("%d streams counted", n)
			}
		})
	}
}
