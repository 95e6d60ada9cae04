package filtertest

import (
	"strings"
	"testing"
)

// FuzzParseBudget reads whatever a filter's budget may hold. A bound that is taken bounds, and errors name the file.
func FuzzParseBudget(f *testing.F) {
	f.Add([]byte("default: {hostCalls: 6, guestBytes: 896B, memory: 16MiB}\nscenarios:\n  remembered/ten requests: {hostCalls: 1, guestBytes: 448B, time: 50us}\n"))
	f.Add([]byte("default: &a {growth: 999999999999MiB, hostCalls: -1}\nscenarios: {a: *a, a: *a}\n"))
	f.Add([]byte("default: {hostCalls: -1}\n"))
	f.Add([]byte("default: {hostCalls: 1}\nscenarios: {a/b: {hostCalls: -9}}\n"))
	f.Add([]byte("default: {memory: [1]}\n---\ndefault: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBudget("budget.yaml", data)
		if err != nil {
			if !strings.Contains(err.Error(), "budget.yaml") {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		all := []Limits{b.Default}
		for _, l := range b.Scenarios {
			all = append(all, l)
		}
		for _, l := range all {
			for what, limit := range map[string]*int64{"time": (*int64)(l.Time), "hostCalls": l.HostCalls, "guestBytes": l.GuestBytes, "memory": l.Memory, "growth": l.Growth} {
				if limit != nil && *limit < 0 {
					t.Errorf("%q: %s is at most %d", data, what, *limit)
				}
			}
		}
		// Nothing costs nothing, and is over no budget but by the scenarios that it names.
		for _, o := range b.Judge([]Cost{{}}) {
			if o.What != "scenario" {
				t.Errorf("%q: %s", data, o)
			}
		}
	})
}

// FuzzEnvoyStats reads whatever may listen where Envoy is thought to be. Each statistic took some of the answer.
func FuzzEnvoyStats(f *testing.F) {
	f.Add([]byte(`{"stats":[{"name":"wasmcustom.orders","value":3},{"name":"a.version_text","value":"v1"},{"name":"hash","value":18446744073709551615},` +
		`{"histograms":{"supported_percentiles":[0,25],"details":[{"name":"http.edge.downstream_rq_time","totals":[{"lower_bound":1,"width":0.1,"count":2},{"lower_bound":5,"width":1,"count":1}],"intervals":[]}]}}]}`))
	f.Add([]byte(`{"stats":[null,{"name":"a","value":null},{"histograms":{"details":[null,{"totals":[null]}]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		stats, err := parseStats(body)
		if err == nil && len(stats) > len(body)/len(`{}`) {
			t.Errorf("%d statistics of %d bytes", len(stats), len(body))
		}
		if err != nil && stats != nil {
			t.Errorf("%q gives %v, and %v", body, stats, err)
		}
	})
}
