package sdk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestMetricName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		tags []sdk.Tag
		want string
	}{
		{"no tags", nil, "n.m"},
		{"two tags in order", []sdk.Tag{{"b", "2"}, {"a", "1"}}, "n.m.b.2.a.1"},
		{"a dot is no separator", []sdk.Tag{{"a.b", "1.2"}}, "n.m.a_b.1_2"},
		{"empty value", []sdk.Tag{{"a", ""}}, "n.m.a._"},
		{"bytes that are no UTF-8", []sdk.Tag{{"a", "\xffé "}}, "n.m.a.____"},
		{"long value", []sdk.Tag{{"a", strings.Repeat("v", sdk.MaxTagValue+1)}}, "n.m.a." + strings.Repeat("v", sdk.MaxTagValue)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := sdk.MetricName("n.m", test.tags...); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func ExampleMetricName() {
	fmt.Println(sdk.MetricName("http.requests", sdk.Tag{Name: "code", Value: "200"}, sdk.Tag{Name: "route", Value: "a/b"}))
	// Output: http.requests.code.200.route.a_b
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	var zero struct {
		c sdk.Counter
		g sdk.Gauge
		h sdk.Histogram
	}
	f := sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		c1, err1 := p.Counter("c", sdk.Tag{Name: "a", Value: "1"})
		c2, err2 := p.Counter("c.a.1")
		g, err3 := p.Gauge("g")
		h, err4 := p.Histogram("h")
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				return nil, err
			}
		}
		if c1 != c2 {
			t.Error("one name, two counters")
		}
		if _, err := p.Histogram("g"); err == nil {
			t.Error("a gauge became a histogram")
		}
		if _, err := p.Counter(""); err == nil {
			t.Error("a counter without a name")
		}
		return &hooks{request: func(*sdk.Request) sdk.Action {
			c1.Inc()
			c2.Add(1<<64 - 1)
			c2.Add(0)
			g.Set(10)
			g.Add(-3)
			h.Record(5)
			h.Record(1<<64 - 1)
			zero.c.Inc()
			zero.g.Set(1)
			zero.g.Add(1)
			zero.h.Record(1)
			if v, err := g.Value(); v != 7 || err != nil {
				t.Errorf("the gauge is %d, %v", v, err)
			}
			if v, err := zero.c.Value(); v != 0 || err != nil {
				t.Errorf("the zero counter is %d, %v", v, err)
			}
			return sdk.Continue
		}}, nil
	}, "")
	f.Do(sdktest.Request{})
	if got := f.Metric("c.a.1"); got != 1<<63 {
		t.Errorf("counter %d", got)
	}
	if got := f.Samples("h"); !slices.Equal(got, []uint64{5, 1<<64 - 1}) {
		t.Errorf("samples %v", got)
	}
}

func TestCountersBy(t *testing.T) {
	t.Parallel()
	type reason string
	f := sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		counters, err := sdk.CountersBy(p, "denied", "reason", reason("a"), reason("b"))
		if err != nil {
			return nil, err
		}
		counters["b"].Add(2)
		counters["c"].Inc() // is none, and counts nothing
		return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
	}, "")
	if a, b := f.Metric("denied.reason.a"), f.Metric("denied.reason.b"); a != 0 || b != 2 {
		t.Errorf("counted %d and %d, want 0 and 2", a, b)
	}
	if names := f.Metrics(); !slices.Equal(names, []string{"denied.reason.a", "denied.reason.b", "waft.requests.filter"}) {
		t.Errorf("metrics %q", names)
	}
	err := sdktest.Configure(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		if _, err := p.Gauge("denied", sdk.Tag{Name: "reason", Value: "a"}); err != nil {
			return nil, err
		}
		counters, err := sdk.CountersBy(p, "denied", "reason", reason("a"))
		if counters != nil {
			t.Errorf("counters %v beside an error", counters)
		}
		return nil, err
	}, "")
	if err == nil || !strings.Contains(err.Error(), "it is a gauge already") {
		t.Errorf("error %v", err)
	}
}
