package sdktest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// config is the configuration of the filter that these tests run.
type config struct {
	Deny string `json:"deny,omitempty"`
}

// probe is a filter that does a little of everything.
type probe struct{ config *config }

func configure(p *sdk.Plugin, c *config) (sdk.Filter, error) {
	if c.Deny == "everybody" {
		return nil, sdk.ConfigErrorf("deny", "must not be everybody")
	}
	return &probe{c}, nil
}

func (f *probe) NewHandler() sdk.Handler { return f }

func (f *probe) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if f.config.Deny != "" && r.Path() == f.config.Deny {
		return r.Reply(sdk.Reply{Status: 403, Body: []byte("no"), Details: "probe_denied"})
	}
	route, _ := r.Properties().String("xds.route_name")
	if err := r.Headers().Set("x-route", route); err != nil {
		return r.Reply(sdk.Reply{})
	}
	return sdk.Continue
}

func (f *probe) OnResponseHeaders(r *sdk.Response) sdk.Action {
	r.Headers().Add("x-path", "["+r.Request().Path()+"]")
	return sdk.Continue
}

func (f *probe) OnStreamDone(s *sdk.Stream) {
	took, err := s.Properties().Duration("request.duration")
	s.Log().Infof("%s %d %v %v", s.Request().Path(), s.Response().Status(), took, err)
}

func TestDo(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"deny":"/admin"}`)
	tests := []struct {
		name     string
		request  sdktest.Request
		upstream string
		status   int
		body     string
		log      string
	}{
		{"passes", sdktest.Request{Path: "/a", Properties: map[string]any{"xds.route_name": "r1"}}, "r1", 200, "ok", "info: /a 200 0s <nil>"},
		{"another upstream answer", sdktest.Request{Path: "/b", Upstream: sdktest.Response{Status: 404}}, "", 404, "", "/b 404"},
		{"denied", sdktest.Request{Path: "/admin"}, "none", 403, "no", "/admin 403"},
		{"seen by the log only", sdktest.Request{Path: "/c", LogOnly: true, Upstream: sdktest.Response{Status: 401}}, "none", 0, "", "/c 401"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := f.Do(test.request)
			switch {
			case test.upstream == "none" && got.Upstream != nil:
				t.Errorf("it reached the upstream: %+v", got.Upstream)
			case test.upstream != "none" && got.Upstream == nil:
				t.Fatalf("it did not reach the upstream: %+v", got.Response)
			case test.upstream != "none" && got.Upstream.Get("x-route") != test.upstream:
				t.Errorf("x-route = %q, want %q", got.Upstream.Get("x-route"), test.upstream)
			}
			if got.Response.Status() != test.status || got.Response.Body != test.body {
				t.Errorf("response %d %q, want %d %q", got.Response.Status(), got.Response.Body, test.status, test.body)
			}
			if got.Upstream != nil && got.Response.Get("x-path") != "[]" {
				t.Errorf("x-path = %q: a request's headers cannot be read with the response", got.Response.Get("x-path"))
			}
			if !got.Logged(test.log) {
				t.Errorf("no log line holds %q: %q", test.log, got.Logs)
			}
		})
	}
	if n := f.Metric("waft.requests.filter"); n != uint64(len(tests)) {
		t.Errorf("%d streams counted, want %d", n, len(tests))
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	if err := sdktest.Configure(t, configure, `{}`); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	err := sdktest.Configure(t, configure, `{"deny":"everybody"}`)
	if err == nil || !strings.Contains(err.Error(), "deny: must not be everybody") {
		t.Errorf("a bad configuration: %v", err)
	}
}

func TestReconfigureKeepsTheFilterWhenRefused(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"deny":"/a"}`)
	if err := f.Reconfigure(`{"deny":7}`); err == nil {
		t.Error("a wrong type was taken")
	}
	if got := f.Do(sdktest.Request{Path: "/a"}); got.Response.Status() != 403 {
		t.Errorf("status %d with the old configuration, want 403", got.Response.Status())
	}
	if err := f.Reconfigure(`{"deny":"/b"}`); err != nil {
		t.Fatal(err)
	}
	if got := f.Do(sdktest.Request{Path: "/a"}); got.Response.Status() != 200 {
		t.Errorf("status %d with the new configuration, want 200", got.Response.Status())
	}
}

// clock is a filter that answers with the host's time.
func clock(*sdk.Plugin, *struct{}) (sdk.Filter, error) { return clockHandler{}, nil }

type clockHandler struct{}

func (clockHandler) NewHandler() sdk.Handler { return clockHandler{} }
func (clockHandler) OnRequestHeaders(r *sdk.Request) sdk.Action {
	return r.Reply(sdk.Reply{Status: 200, Body: []byte(r.Stream().Now().UTC().Format(time.RFC3339))})
}

func TestClock(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, clock, "", sdktest.Clock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)))
	first := f.Do(sdktest.Request{}).Response.Body
	f.Advance(time.Hour)
	second := f.Do(sdktest.Request{}).Response.Body
	if got := []string{first, second}; !slices.Equal(got, []string{"2030-01-02T03:04:05Z", "2030-01-02T04:04:05Z"}) {
		t.Errorf("the filter saw %v", got)
	}
}

func ExampleHeaders() {
	fmt.Println(sdktest.Headers("x-a", "1", "x-b", "2"))
	// Output: [{x-a 1} {x-b 2}]
}
