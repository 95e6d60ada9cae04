package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/sdktest"
)

func TestCount(t *testing.T) {
	t.Parallel()
	full := sdktest.Request{
		Method: "POST", Path: "/a", Headers: sdktest.Headers("x-tenant", "acme", "x-tenant", "second"),
		Upstream: sdktest.Response{Status: 503, Headers: sdktest.Headers("x-cache", "hit.2")},
		Properties: map[string]any{
			"xds.route_name": "shop", "xds.cluster_name": "up", "source.port": 4711, "request.duration": 1500 * time.Microsecond,
			"request.total_size": 300, "request.size": 100, "response.total_size": 2000, "response.size": 1000,
		},
	}
	tests := []struct {
		name    string
		metric  string
		request sdktest.Request
		want    string
		value   uint64
	}{
		{"counter", `{"name":"hits","type":"counter"}`, full, "hits", 1},
		{"request header, its first value", `{"name":"hits","type":"counter","tags":[{"name":"tenant","from":"requestHeader","key":"X-Tenant"}]}`, full, "hits.tenant.acme", 1},
		{"response header", `{"name":"hits","type":"counter","tags":[{"name":"cache","from":"responseHeader","key":"x-cache"}]}`, full, "hits.cache.hit_2", 1},
		{"code and class", `{"name":"hits","type":"counter","tags":[{"name":"code","from":"code"},{"name":"class","from":"codeClass"}]}`, full, "hits.code.503.class.5xx", 1},
		{"method and route", `{"name":"hits","type":"counter","tags":[{"name":"m","from":"method"},{"name":"r","from":"route"}]}`, full, "hits.m.POST.r.shop", 1},
		{"property", `{"name":"hits","type":"counter","tags":[{"name":"c","from":"property","key":"xds.cluster_name"},{"name":"p","from":"property","key":"source.port"}]}`, full, "hits.c.up.p.4711", 1},
		{"absent", `{"name":"hits","type":"counter","tags":[{"name":"a","from":"requestHeader","key":"x-a"},{"name":"b","from":"property","key":"b","default":"-"},{"name":"r","from":"route"}]}`, sdktest.Request{}, "hits.a.none.b.-.r.none", 1},
		{"an empty header counts as absent", `{"name":"hits","type":"counter","tags":[{"name":"a","from":"requestHeader","key":"x-a"}]}`, sdktest.Request{Headers: sdktest.Headers("x-a", "")}, "hits.a.none", 1},
		{"one of the values", `{"name":"hits","type":"counter","tags":[{"name":"t","from":"requestHeader","key":"x-tenant","values":["acme"]}]}`, full, "hits.t.acme", 1},
		{"none of the values", `{"name":"hits","type":"counter","tags":[{"name":"t","from":"requestHeader","key":"x-tenant","values":["b"]}]}`, full, "hits.t.other", 1},
		{"a method of the client's own", `{"name":"hits","type":"counter","tags":[{"name":"m","from":"method"}]}`, sdktest.Request{Method: "BREW"}, "hits.m.other", 1},
		{"bytes that are no UTF-8", `{"name":"hits","type":"counter","tags":[{"name":"t","from":"requestHeader","key":"x-a"}]}`, sdktest.Request{Headers: sdktest.Headers("x-a", "\xff\x00é")}, "hits.t.____", 1},
		{"bytes", `{"name":"bytes","type":"counter","value":"response_body_bytes"}`, full, "bytes", 1000},
		{"duration in ms", `{"name":"took","type":"histogram"}`, full, "took", 1},
		{"duration in us", `{"name":"took","type":"histogram","value":"duration_us"}`, full, "took", 1500},
		{"request", `{"name":"size","type":"histogram","value":"request_bytes"}`, full, "size", 300},
		{"request body", `{"name":"size","type":"histogram","value":"request_body_bytes"}`, full, "size", 100},
		{"response", `{"name":"size","type":"histogram","value":"response_bytes"}`, full, "size", 2000},
		{"answered by another filter", `{"name":"hits","type":"counter","tags":[{"name":"code","from":"code"}]}`, sdktest.Request{LogOnly: true, Upstream: sdktest.Response{Status: 403}}, "hits.code.403", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, `{"metrics":[`+test.metric+`]}`)
			f.Do(test.request)
			got := f.Metric(test.want)
			if samples := f.Samples(test.want); len(samples) == 1 {
				got = samples[0]
			}
			if got != test.value {
				t.Errorf("%s = %d, want %d; there are %v", test.want, got, test.value, f.Metrics())
			}
		})
	}
}

// TestBound sends more combinations than there may be, and wants each stream counted once.
func TestBound(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"maxSeries":3,"metrics":[
		{"name":"hits","type":"counter","tags":[{"name":"id","from":"requestHeader","key":"x-id"},{"name":"code","from":"codeClass"}]},
		{"name":"took","type":"histogram","maxSeries":1,"tags":[{"name":"id","from":"requestHeader","key":"x-id"}]}]}`)
	const requests = 50
	for i := range requests {
		f.Do(sdktest.Request{Headers: sdktest.Headers("x-id", fmt.Sprint("c", i))})
	}
	f.Do(sdktest.Request{Headers: sdktest.Headers("x-id", "c1")})
	want := []string{"hits.id.c0.code.2xx", "hits.id.c1.code.2xx", "hits.id.c2.code.2xx", "hits.id.other.code.other",
		"took.id.c0", "took.id.other", "waft.requests.filter"}
	if got := f.Metrics(); !slices.Equal(got, want) {
		t.Fatalf("metrics %v, want %v", got, want)
	}
	if got := f.Metric("hits.id.other.code.other"); got != requests-3 {
		t.Errorf("%d streams over the bound, want %d", got, requests-3)
	}
	if got := f.Metric("hits.id.c1.code.2xx"); got != 2 {
		t.Errorf("c1 was counted %d times, want 2", got)
	}
	if got := len(f.Samples("took.id.other")); got != requests {
		t.Errorf("%d durations over the bound, want %d", got, requests)
	}
}

// TestUnknownValue has a host that does not know the size: the stream is not counted, rather than counted as 0.
func TestUnknownValue(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"metrics":[{"name":"size","type":"histogram","value":"response_bytes"}]}`)
	f.Do(sdktest.Request{})
	if got := f.Samples("size"); len(got) != 0 {
		t.Errorf("samples %v, want none", got)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	metric := func(s string) string { return `{"metrics":[` + s + `]}` }
	tests := []struct{ name, config, want string }{
		{"empty", ``, "metrics: required field is missing"},
		{"unknown field", metric(`{"name":"a","type":"counter","labels":[]}`), "metrics[0].labels: unknown field"},
		{"wrong type", metric(`{"name":"a","type":"counter","maxSeries":"7"}`), "metrics[0].maxSeries: want a whole number"},
		{"a gauge", metric(`{"name":"a","type":"gauge"}`), "metrics[0].type: want one of counter, histogram"},
		{"no name", metric(`{"name":"","type":"counter"}`), "metrics[0].name"},
		{"an empty part", metric(`{"name":"a..b","type":"counter"}`), "metrics[0].name: \"a..b\" is empty, or has an empty part"},
		{"a space", metric(`{"name":"a b","type":"counter"}`), "metrics[0].name: \"a b\" holds ' '"},
		{"reserved", metric(`{"name":"waft.requests.x","type":"counter"}`), "metrics[0].name: \"waft.requests.x\": names that begin with waft."},
		{"twice", metric(`{"name":"a","type":"counter"},{"name":"a","type":"histogram"}`), "metrics[1].name: \"a\" is the name of metrics[0]"},
		{"histogram of ones", metric(`{"name":"a","type":"histogram","value":"one"}`), "metrics[0].value"},
		{"too many series", `{"maxSeries":10001,"metrics":[]}`, "maxSeries: want at most 10000, got 10001"},
		{"negative series", metric(`{"name":"a","type":"counter","maxSeries":-1}`), "metrics[0].maxSeries: want at least 0, got -1"},
		{"tag without a key", metric(`{"name":"a","type":"counter","tags":[{"name":"t","from":"requestHeader"}]}`), "metrics[0].tags[0].key: requestHeader needs a key"},
		{"tag with a key", metric(`{"name":"a","type":"counter","tags":[{"name":"t","from":"code","key":"x"}]}`), "metrics[0].tags[0].key: code takes no key"},
		{"tag with a dot", metric(`{"name":"a","type":"counter","tags":[{"name":"t.u","from":"code"}]}`), "metrics[0].tags[0].name"},
		{"tag twice", metric(`{"name":"a","type":"counter","tags":[{"name":"t","from":"code"},{"name":"t","from":"route"}]}`), "metrics[0].tags[1].name: \"t\" is the name of tags[0]"},
		{"bad property", metric(`{"name":"a","type":"counter","tags":[{"name":"t","from":"property","key":"a..b"}]}`), "metrics[0].tags[0].key"},
		{"unknown source", metric(`{"name":"a","type":"counter","tags":[{"name":"t","from":"cookie"}]}`), "metrics[0].tags[0].from: want one of"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
