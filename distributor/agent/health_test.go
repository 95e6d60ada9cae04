package agent

import (
	"regexp"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

func TestPatience(t *testing.T) {
	type look struct {
		second                  float64
		epoch                   int
		begun, completed, ended int64
		want                    int64
	}
	for name, test := range map[string]struct {
		fresh bool
		looks []look
	}{
		"a busy Envoy": {true, []look{{0, 1, 100, 90, 0, 0}, {2, 1, 200, 190, 0, 0}, {4, 1, 300, 300, 0, 0}, {6, 1, 400, 390, 0, 0}, {8, 1, 500, 490, 0, 0}}},
		"requests that wait count once they have waited long": {true, []look{
			{0, 1, 10, 10, 0, 0}, {1, 1, 13, 10, 0, 0}, {3, 1, 23, 20, 0, 0}, {5, 1, 33, 30, 0, 0}, {6, 1, 43, 40, 0, 3}, {7, 1, 53, 52, 0, 1},
		}},
		"clients that went away stay counted":  {true, []look{{0, 1, 10, 10, 0, 0}, {2, 1, 12, 10, 0, 0}, {4, 1, 12, 10, 0, 0}, {6, 1, 13, 10, 0, 0}, {8, 1, 13, 10, 0, 2}, {10, 1, 100, 97, 0, 2}, {12, 1, 100, 97, 0, 3}}},
		"idle timeouts are answers, and count": {true, []look{{0, 1, 12, 10, 0, 0}, {2, 1, 12, 10, 0, 0}, {4, 1, 12, 10, 0, 0}, {6, 1, 12, 10, 0, 2}, {8, 1, 12, 12, 2, 2}}},
		"another life begins anew":             {true, []look{{0, 1, 12, 10, 0, 0}, {2, 1, 12, 10, 0, 0}, {4, 1, 12, 10, 0, 0}, {6, 1, 12, 10, 0, 2}, {7, 2, 2, 0, 0, 0}, {9, 2, 2, 0, 0, 0}, {11, 2, 2, 0, 0, 0}, {13, 2, 2, 0, 0, 2}}},
		"what was so before it was watched":    {false, []look{{0, 1, 100, 10, 0, 90}, {2, 1, 103, 10, 0, 90}, {4, 1, 103, 10, 0, 90}, {6, 1, 103, 10, 0, 90}, {8, 1, 103, 10, 0, 93}}},
		"nobody looked for a while": {false, []look{
			{0, 1, 107, 100, 0, 7}, {2, 1, 107, 100, 0, 7}, {12, 1, 320, 300, 0, 7}, {14, 1, 420, 400, 0, 7}, {16, 1, 507, 500, 0, 7}, {18, 1, 607, 600, 0, 7},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var p patience
			for _, l := range test.looks {
				o := observation{
					at: noon.Add(time.Duration(l.second * float64(time.Second))), epoch: l.epoch, requests: l.completed,
					health: health{begun: l.begun, ended: l.ended},
				}
				if got := p.stuck(o, test.fresh || l.epoch > 1); got != l.want {
					t.Errorf("after %gs: %d, want %d", l.second, got, l.want)
				}
			}
		})
	}
}

// The buckets of any Envoy end in those of a report.
func TestLatencyOfEnvoysBuckets(t *testing.T) {
	histogram := func(pairs ...float64) envoy.Histogram {
		var h envoy.Histogram
		for i := 0; i < len(pairs); i += 2 {
			h.Buckets = append(h.Buckets, envoy.Bucket{UpperBound: pairs[i], Cumulative: int64(pairs[i+1])})
		}
		return h
	}
	const last = len(model.Latency{}) - 1
	for name, test := range map[string]struct {
		histogram envoy.Histogram
		want      model.Latency
	}{
		"none":                                 {histogram(), model.Latency{}},
		"Envoy's own":                          {histogram(0.5, 1, 1, 3, 5, 3, 10, 10, 60000, 10), model.Latency{0: 1, 1: 2, 3: 7}},
		"finer":                                {histogram(0.1, 1, 0.4, 2, 0.5, 3, 2, 4, 3, 5, 60000, 5), model.Latency{0: 3, 2: 2}},
		"coarser":                              {histogram(7, 5, 700, 9, 90000, 9), model.Latency{3: 5, 9: 4}},
		"an end that slow requests are beyond": {histogram(7, 5, 700, 9, 59999, 9), model.Latency{}},
		"a bound that no time reaches":         {histogram(60000, 1, 1e18, 4), model.Latency{last - 1: 1, last: 3}},
		"beyond a bound":                       {histogram(60000, 1, 300000, 4), model.Latency{last - 1: 1, last: 3}},
	} {
		if got := latencyOf(test.histogram); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// What health is read from is asked for, and nothing is mistaken for it.
func TestHealthOfStatistics(t *testing.T) {
	values := map[string]int64{
		"http.edge.downstream_rq_total": 100, "http.edge.downstream_rq_idle_timeout": 2, "http.admin.downstream_rq_total": 7,
		"server.worker_0.watchdog_miss": 1, "server.worker_11.watchdog_miss": 2, "server.main_thread.watchdog_miss": 64, "workers.watchdog_miss": 3,
		"wasm.authz.vm_reload_success": 1, "wasm.stamp.vm_reload_success": 2, "wasm.authz.vm_reload": 64, "wasm.authz.vm_reload_failure": 4, "wasm.authz.vm_reload_backoff": 64,
		"wasm.envoy.wasm.runtime.v8.active": 3, "wasm.envoy.wasm.runtime.v8.created": 64, "server.memory_physical_size": 1000, "server.memory_allocated": 64,
		"wasmcustom.waft.panics.authz": 5, "wasmcustom.waft.requests.authz": 64,
		"wasm.authz.cohort.vm_reload_success": 7, "wasm.authz.cohort.vm_reload_failure": 8, "wasm.authz.cohort.vm_reload": 64, "wasmcustom.waft.panics.authz.cohort": 9,
		"waft.stuck.cohort.in": 6, "waft.stuck.cohort.": 64,
	}
	asked := envoy.Stats{Values: map[string]int64{}, Histograms: map[string]envoy.Histogram{"http.edge.downstream_rq_time": {Buckets: []envoy.Bucket{{UpperBound: 5, Cumulative: 6}, {UpperBound: 3600000, Cumulative: 6}}}}}
	filter := regexp.MustCompile(statsOfAllThat(envoy.DefaultStatPrefix))
	for name, value := range values {
		if filter.MatchString(name) {
			asked.Values[name] = value
		}
	}
	want := health{begun: 100, ended: 2, misses: 3, reloads: 10, reloadFailures: 12, panics: 14, footprint: footprint{vms: 3, memory: 1000}, latency: model.Latency{2: 6}}
	// A chain's health is of all its filters, the cohort's of those that only it meets.
	asked.Histograms["waft.time.cohort.in"] = envoy.Histogram{Buckets: []envoy.Bucket{{UpperBound: 10, Cumulative: 2}, {UpperBound: 3600000, Cumulative: 2}}}
	cohort := health{stuck: 6, reloads: 7, reloadFailures: 8, panics: 9, latency: model.Latency{3: 2}}
	if o := observe(asked, envoy.DefaultStatPrefix); o.health != want || o.cohortHealth != cohort || !o.measured || !o.told {
		t.Errorf("got  %+v, and of the cohort %+v, %v, %v\nwant %+v, %+v", o.health, o.cohortHealth, o.measured, o.told, want, cohort)
	}
	if !filter.MatchString("http.edge.downstream_rq_time") || !filter.MatchString("waft.time.cohort.in") {
		t.Error("latency is not asked for")
	}
	if o := observe(envoy.Stats{Values: map[string]int64{"waft.requests.cohort.in": 9}}, envoy.DefaultStatPrefix); o.measured || !o.told {
		t.Error("an Envoy with the bootstrap of an older agent times no cohort")
	}
}

// An agent that is started while a chain serves does not take what the chain has leaked by then for where it began.
func TestMeterOfAChainThatServedAlready(t *testing.T) {
	one, two := &chain{Hash: "one"}, &chain{Hash: "two"}
	at := func(memory int64) observation {
		return observation{at: noon, epoch: 1, health: health{footprint: footprint{vms: 3, memory: memory, resident: true}}}
	}
	kept := &baseline{Chain: "one", VMs: 2, Memory: 100, Resident: true}
	for name, test := range map[string]struct {
		already     bool
		kept        *baseline
		memory, vms int64
	}{
		"nothing is kept":                      {already: true},
		"it was kept":                          {already: true, kept: kept, memory: 100, vms: 2},
		"that of another chain was kept":       {already: true, kept: &baseline{Chain: "two", VMs: 2, Memory: 100}},
		"it began before the meter's eyes":     {memory: 900, vms: 3},
		"it is tried again in another process": {kept: kept, memory: 100, vms: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var m meter
			m.found(one, test.already, test.kept)
			m.follow(one, at(900))
			m.rest(at(950))
			m.follow(one, at(950))
			if h := m.total(one).health; h.MemoryBefore != test.memory || h.VMsBefore != test.vms || h.Memory != 950 {
				t.Errorf("%+v", h)
			}
			b, known := m.baseline()
			if want := (baseline{Chain: "one", VMs: test.vms, Memory: test.memory, Resident: true}); known != (test.memory > 0) || known && b != want {
				t.Errorf("to keep: %+v, %v", b, known)
			}
			// The next one is compared with what was there before it.
			m.follow(two, at(990))
			if h := m.total(two).health; h.MemoryBefore != 950 {
				t.Errorf("the next chain: %+v", h)
			}
		})
	}
}

// What a chain is compared with is what Envoy took before anything of it was loaded.
func TestMeterKeepsWhatEnvoyTookBefore(t *testing.T) {
	one, two := &chain{Hash: "one"}, &chain{Hash: "two"}
	at := func(epoch int, vms, memory, misses, hangs int64) observation {
		return observation{at: noon, epoch: epoch, hangs: hangs, health: health{misses: misses, footprint: footprint{vms: vms, memory: memory, resident: true}}}
	}
	var m meter
	m.follow(one, at(1, 3, 100, 5, 1))
	if h := m.total(one).health; h.VMs != 3 || h.VMsBefore != 3 || h.MemoryBefore != 100 || h.Misses != 0 || h.Hangs != 0 || !h.Resident {
		t.Errorf("the first chain is compared with its own beginning: %+v", h)
	}
	m.follow(one, at(1, 3, 110, 6, 2))
	m.rest(at(1, 3, 110, 6, 2))
	m.follow(one, at(1, 6, 190, 6, 2)) // the next one is being loaded
	m.follow(two, at(1, 6, 200, 6, 2))
	m.follow(two, at(1, 3, 150, 8, 3))
	if h := m.total(two).health; h.VMs != 3 || h.VMsBefore != 3 || h.Memory != 150 || h.MemoryBefore != 110 || h.Misses != 2 || h.Hangs != 1 {
		t.Errorf("%+v", h)
	}
	m.rest(at(1, 3, 150, 8, 3))
	m.follow(two, at(2, 4, 160, 1, 0)) // Envoy came up again
	if h := m.total(two).health; h.VMs != 4 || h.MemoryBefore != 110 || h.Misses != 3 || h.Hangs != 1 {
		t.Errorf("across a restart: %+v", h)
	}
	allocator := at(2, 4, 50, 1, 0)
	allocator.health.footprint.resident = false
	m.follow(two, allocator)
	if h := m.total(two).health; h.MemoryBefore != 0 || h.Memory != 50 || h.Resident {
		t.Errorf("what was measured otherwise was compared: %+v", h)
	}
}
