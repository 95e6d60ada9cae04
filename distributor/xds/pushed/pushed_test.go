package pushed

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"github.com/google/go-cmp/cmp"
	prom "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// captured are the messages of a stream of a real Envoy, without who it is.
func captured(t testing.TB, name string) [][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", name, "*.pb"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no messages of %s: %v", name, err)
	}
	var messages [][]byte
	for _, path := range paths {
		message, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	return messages
}

var captures = []string{"1.36-totals", "1.40-totals", "1.40-deltas"}

// What is read without decoding all of a message is what generated code reads of it.
func TestDecodeReadsWhatIsThere(t *testing.T) {
	const gauge = "server.concurrency"
	for _, name := range captures {
		for i, raw := range captured(t, name) {
			got, err := Read(raw, []string{gauge})
			if err != nil {
				t.Fatalf("%s, message %d: %v", name, i, err)
			}
			var m metricsv3.StreamMetricsMessage
			if err := proto.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			want := map[string]sample{}
			for _, f := range m.GetEnvoyMetrics() {
				for _, metric := range f.GetMetric() {
					labels := map[string]string{}
					for _, l := range metric.GetLabel() {
						labels[l.GetName()] = l.GetValue()
					}
					full := fullName(f.GetName(), labels)
					if !wanted(full, []string{gauge}) {
						continue
					}
					if metric.GetTimestampMs() != got.at && metric.GetTimestampMs() != got.at+1 {
						t.Errorf("%s, message %d: %s is of %d, the message of %d", name, i, full, metric.GetTimestampMs(), got.at)
					}
					switch {
					case metric.GetCounter() != nil:
						want[full] = sample{metric.GetCounter().GetValue(), true}
					case metric.GetGauge() != nil:
						want[full] = sample{metric.GetGauge().GetValue(), false}
					case metric.GetHistogram() != nil && full == timeStat:
						if got.latency.Count() != int64(metric.GetHistogram().GetSampleCount()) {
							t.Errorf("%s, message %d: the latency of %d requests instead of %d", name, i, got.latency.Count(), metric.GetHistogram().GetSampleCount())
						}
					}
				}
			}
			if diff := cmp.Diff(want, got.values, cmp.AllowUnexported(sample{})); diff != "" {
				t.Errorf("%s, message %d (-want +got):\n%s", name, i, diff)
			}
		}
	}
}

// Envoy's own names are there, in whichever way it was told to send them, and whichever version it is of.
func TestNamesOfEveryEnvoy(t *testing.T) {
	for name, own := range map[string][]string{
		"1.36-totals": {uptimeStat, memoryStat},
		"1.40-totals": {uptimeStat, memoryStat, versionStat, reloadStat, vmsStat, completedStat, errorsStat, begunStat, seenPrefix + "stamp", envoy.CohortRequestsStat + envoy.CohortTag},
		"1.40-deltas": {uptimeStat, memoryStat, versionStat, reloadStat, vmsStat, completedStat, errorsStat, begunStat, seenPrefix + "stamp", envoy.CohortRequestsStat + envoy.CohortTag},
	} {
		all := map[string]sample{}
		for _, raw := range captured(t, name) {
			r, err := Read(raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(all, r.values)
		}
		for _, stat := range own {
			if _, has := all[stat]; !has {
				t.Errorf("%s: no %s", name, stat)
			}
		}
	}
}

// bad is the chain of which every third request failed, in the captured streams.
var bad = Chain{Hash: "sha256:f25426d3f50b9d571a65dca9843a8b2b1682394c290798fa515f364116812547", Filters: []Filter{{ID: "stamp"}}}

// A stream of a real Envoy, as totals in one message a flush, and as deltas in several, gives what it has served since the flush in which the chain came.
func TestCapturedStreams(t *testing.T) {
	type counted struct {
		Requests, Errors, Seen, Timed int64
		DeniedKnown                   bool
	}
	for name, want := range map[string][]counted{
		"1.40-totals": {{0, 0, 0, 0, true}, {20, 7, 20, 20, true}, {40, 14, 40, 40, true}},
		"1.40-deltas": {{0, 0, 0, 0, true}, {20, 7, 20, 20, true}, {40, 14, 40, 40, true}},
	} {
		var a Account
		var got []counted
		var stats model.Statistics
		for i, raw := range captured(t, name) {
			now := time.UnixMilli(int64(i) * 500)
			r, err := Read(raw, nil)
			if err != nil {
				t.Fatalf("%s, message %d: %v", name, i, err)
			}
			said, ok := a.Take(r, bad, nil, now)
			if ok {
				stats = said
				got = append(got, counted{said.Requests, said.Errors, said.Seen, said.Health.Latency.Count(), said.DeniedKnown})
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if stats.Chain != bad.Hash || stats.Health.VMs == 0 || stats.Health.Memory == 0 {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

// good is a chain that tests push by hand.
var good = Chain{Hash: "sha256:" + strings.Repeat("a", 64), Filters: []Filter{{ID: "f"}}}

// pushes makes messages as an Envoy does that serves a chain.
type pushes struct {
	t      testing.TB
	a      Account
	of     Chain
	at     int64
	uptime float64
	asked  []string
}

// flush pushes one: counters, by name, and gauges with a "=" before it; each pair is a name and a value.
func (p *pushes) flush(of Chain, pairs ...any) (model.Statistics, bool) {
	p.t.Helper()
	p.at += 1000
	p.uptime++
	pairs = append(pairs, "="+uptimeStat, p.uptime, "="+versionStat, float64(xxhash.Sum64String(of.Hash)))
	r, err := Read(message(p.t, p.at, pairs...), p.asked)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.a.Take(r, p.of, p.asked, time.UnixMilli(p.at))
}

func message(t testing.TB, at int64, pairs ...any) []byte {
	t.Helper()
	m := &metricsv3.StreamMetricsMessage{}
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		var v float64
		switch n := pairs[i+1].(type) {
		case int:
			v = float64(n)
		case float64:
			v = n
		}
		metric := &prom.Metric{TimestampMs: &at, Counter: &prom.Counter{Value: &v}}
		kind := prom.MetricType_COUNTER
		if gauge, is := strings.CutPrefix(name, "="); is {
			name, kind = gauge, prom.MetricType_GAUGE
			metric.Counter, metric.Gauge = nil, &prom.Gauge{Value: &v}
		}
		m.EnvoyMetrics = append(m.EnvoyMetrics, &prom.MetricFamily{Name: &name, Type: &kind, Metric: []*prom.Metric{metric}})
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What was served before the chain, or in the flush in which it came, is not its; and of another chain nothing is said.
func TestChainBeginsWithItsFirstFlush(t *testing.T) {
	p := &pushes{t: t, of: good}
	if _, said := p.flush(bad, completedStat, 100, errorsStat, 100, reloadStat, 1); said {
		t.Error("statistics of a chain that is not in the slot")
	}
	if stats, said := p.flush(good, completedStat, 150, errorsStat, 150, reloadStat, 2); !said || stats.Requests != 0 || stats.Errors != 0 {
		t.Errorf("it begins with %+v", stats)
	}
	if stats, said := p.flush(good, completedStat, 180, errorsStat, 160, reloadStat, 2, envoy.DeniedStat, 3); !said || stats.Requests != 30 || stats.Errors != 10 || stats.Denied != 3 || !stats.DeniedKnown {
		t.Errorf("it has served %+v", stats)
	}
	p.of = Chain{} // nothing is known of what it accepted
	if _, said := p.flush(good, completedStat, 190, reloadStat, 2); said {
		t.Error("statistics of a chain that nobody knows")
	}
}

// An Envoy that starts anew counts from zero: nothing is negative, and what it had counted stays.
func TestCountsOnlyRise(t *testing.T) {
	p := &pushes{t: t, of: good, asked: []string{"wasmcustom.orders"}}
	p.flush(good, completedStat, 100, errorsStat, 5, reloadStat, 1, "wasmcustom.orders", 7)
	p.flush(good, completedStat, 140, errorsStat, 9, reloadStat, 1, "wasmcustom.orders", 9)
	p.uptime = 0
	p.flush(Chain{}, completedStat, 0)
	// More than before already: only its uptime says that it is another process. Errors it has none yet, so it does not push any.
	stats, _ := p.flush(good, completedStat, 200, reloadStat, 1, "wasmcustom.orders", 1)
	if stats.Requests != 240 || stats.Errors != 4 || stats.Values["wasmcustom.orders"] != (model.StatisticValue{Value: 1, Increase: 3}) {
		t.Errorf("after a restart: %+v", stats)
	}
	// A counter that falls by itself went away with what it was of.
	stats, _ = p.flush(good, completedStat, 210, reloadStat, 1, "wasm.x.vm_reload_success", 4)
	if stats.Health.Reloads != 4 {
		t.Errorf("reloads: %+v", stats.Health)
	}
	stats, _ = p.flush(good, completedStat, 210, reloadStat, 1, "wasm.x.vm_reload_success", 1)
	if stats.Health.Reloads != 5 || stats.Requests != 250 {
		t.Errorf("after a counter has gone: %+v", stats)
	}
}

// Deltas are found out by the counter of reloads, which is none while a chain stays; what they add up to is the same.
func TestDeltas(t *testing.T) {
	p := &pushes{t: t, of: good}
	p.flush(good, completedStat, 100, errorsStat, 100, reloadStat, 1)
	p.flush(good, completedStat, 10, errorsStat, 0, reloadStat, 0)
	stats, _ := p.flush(good, completedStat, 3, errorsStat, 1, reloadStat, 0)
	if stats.Requests != 13 || stats.Errors != 1 {
		t.Errorf("after two intervals: %+v", stats)
	}
	other := Chain{Hash: "sha256:" + strings.Repeat("b", 64)}
	p.of = other
	p.flush(other, completedStat, 50, errorsStat, 50, reloadStat, 1)
	if stats, _ = p.flush(other, completedStat, 5, errorsStat, 0, reloadStat, 0); stats.Requests != 5 || stats.Errors != 0 {
		t.Errorf("the next chain: %+v", stats)
	}
	p.uptime = 0
	p.flush(Chain{}, completedStat, 0)
	p.flush(other, completedStat, 2, reloadStat, 1)
	if stats, _ = p.flush(other, completedStat, 4, reloadStat, 1); stats.Requests != 9 {
		t.Errorf("started anew with totals: %+v", stats)
	}
}

// A flush that comes in several messages counts as one, when the next begins; the very first is lost, since nobody knows yet that it goes on.
func TestFlushInSeveralMessages(t *testing.T) {
	var a Account
	version := float64(xxhash.Sum64String(good.Hash))
	var requests []int64
	for i := range 5 {
		at := int64(1000 * (i + 1))
		for _, part := range [][]any{{completedStat, 100 + 10*i, reloadStat, 1}, {"=" + versionStat, version, "=" + uptimeStat, i}, {"=" + vmsStat, 2}} {
			r, err := Read(message(t, at, part...), nil)
			if err != nil {
				t.Fatal(err)
			}
			if stats, said := a.Take(r, good, nil, time.UnixMilli(at)); said {
				requests = append(requests, stats.Requests)
			}
		}
	}
	if diff := cmp.Diff([]int64{0, 10, 20}, requests); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Filters publish their counters a moment late: what completed since the flush before may be missing from them, and no more.
func TestFiltersCountersLag(t *testing.T) {
	p := &pushes{t: t, of: good}
	p.flush(good, completedStat, 100, seenPrefix+"f", 100, reloadStat, 1)
	if stats, _ := p.flush(good, completedStat, 120, seenPrefix+"f", 115, reloadStat, 1); stats.Requests != 20 || stats.Seen != 20 {
		t.Errorf("a lag: %+v", stats)
	}
	if stats, _ := p.flush(good, completedStat, 130, seenPrefix+"f", 115, reloadStat, 1); stats.Requests != 30 || stats.Seen != 25 {
		t.Errorf("a filter that is skipped: %+v", stats)
	}
	if stats, _ := p.flush(good, completedStat, 200, seenPrefix+"f", 115, reloadStat, 1); stats.Requests != 100 || stats.Seen != 85 {
		t.Errorf("a filter that is skipped for long: %+v", stats)
	}
}

// Where a chain is split, its cohort's requests are those that the flush before knew, which the filters' counters must show.
func TestCohortIsCounted(t *testing.T) {
	split := good
	split.Split, split.Filters = true, []Filter{{ID: "f", Side: model.SideRest}, {ID: "f" + envoy.CohortSuffix, Side: model.SideCohort}}
	p := &pushes{t: t, of: split}
	tag := envoy.CohortTag + envoy.CohortIn
	flush := func(requests, seen int) model.Statistics {
		stats, _ := p.flush(split, completedStat, 10*requests, reloadStat, 1, envoy.CohortRequestsStat+tag, requests, envoy.CohortErrorsStat+tag, requests/2,
			seenPrefix+"f", 10*requests-seen, seenPrefix+"f"+envoy.CohortSuffix, seen)
		return stats
	}
	flush(10, 10)
	flush(30, 25)
	if got, want := flush(50, 45).Cohort, (model.CohortStatistics{Known: true, Requests: 20, Errors: 10, Seen: 20}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What the cohort waits for, and the traps of filters that only it meets, are told apart where Envoy times its requests.
func TestCohortIsMeasured(t *testing.T) {
	split := good
	split.Split, split.Filters = true, []Filter{{ID: "f", Side: model.SideRest}, {ID: "f" + envoy.CohortSuffix, Side: model.SideCohort}}
	const tag = envoy.CohortTag + envoy.CohortIn
	of := func(timed bool) model.Health {
		var m meter
		read := func(times int) Reading {
			r := Reading{timed: timed, values: map[string]sample{}, cohort: model.Latency{3: int64(times)}}
			for name, v := range map[string]int{
				envoy.CohortRequestsStat + tag: 10 * times, envoy.CohortStuckStat + tag: 3 * times, envoy.CohortStuckStat + envoy.CohortTag: 50 * times,
				panicsPrefix + "f": 60 * times, panicsPrefix + "f.cohort": 4 * times, wasmPrefix + "f" + reloadSuffix: 70 * times, wasmPrefix + "f.cohort" + reloadSuffix: 5 * times,
				wasmPrefix + "f.cohort" + failureSuffix: 6 * times,
			} {
				r.values[name] = sample{value: float64(v), counter: true}
			}
			return r
		}
		m.follow(read(1), split, nil, time.Time{})
		return m.follow(read(2), split, nil, time.Time{}).Cohort.Health
	}
	want := model.Health{Known: true, Stuck: 3, Panics: 4, Reloads: 5, ReloadFailures: 6, Latency: model.Latency{3: 2}}
	if got := of(true); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if of(false).Known {
		t.Error("an Envoy that times no cohort says how it does")
	}
	for _, name := range []string{envoy.CohortStuckStat + tag, envoy.CohortTimeStat + tag} {
		if !wanted(name, nil) || !readable(name, nil) {
			t.Errorf("%s is not read", name)
		}
	}
}

// Requests that wait on and on are stuck; those that a busy node always has are not.
func TestStuck(t *testing.T) {
	p := &pushes{t: t, of: good}
	flush := func(begun, completed int) model.Health {
		stats, _ := p.flush(good, begunStat, begun, completedStat, completed, reloadStat, 1)
		return stats.Health
	}
	p.flush(bad, begunStat, 110, completedStat, 100, reloadStat, 1)
	flush(208, 200)
	for i := range 4 {
		if h := flush(309+i*100, 300+i*100); h.Known || h.Stuck != 0 {
			t.Errorf("it is known after %d flushes: %+v", i+1, h)
		}
	}
	for i := range 3 {
		if h := flush(710+i*100, 700+i*100); i == 2 && (!h.Known || h.Stuck != 0) {
			t.Errorf("those that always wait: %+v", h)
		}
	}
	var h model.Health
	for i := range 8 {
		h = flush(1012+(i+1)*100, 1000+i*100)
	}
	if h.Stuck != 102 {
		t.Errorf("%d are stuck instead of 102", h.Stuck)
	}
	stats, _ := p.flush(good, begunStat, 1800, completedStat, 1800, idleStat, 3, reloadStat, 1)
	if stats.Health.Stuck != 3 {
		t.Errorf("%d are stuck instead of the 3 that Envoy ended", stats.Health.Stuck)
	}
}

// Workers and VMs are added up.
func TestHealthOfWorkersAndVMs(t *testing.T) {
	p := &pushes{t: t, of: good}
	p.flush(good, reloadStat, 1)
	stats, _ := p.flush(good, reloadStat, 1, "server.worker_0.watchdog_miss", 1, "server.worker_1.watchdog_miss", 2, "server.main_thread.watchdog_miss", 50, "server.worker_1.watchdog_mega_miss", 1,
		"wasm.a.vm_reload_success", 3, "wasm.b.vm_reload_failure", 2, panicsPrefix+"f", 4, "="+vmsStat, 5, "="+memoryStat, 6)
	if h := stats.Health; h.Misses != 3 || h.Hangs != 1 || h.Reloads != 3 || h.ReloadFailures != 2 || h.Panics != 4 || h.VMs != 5 || h.Memory != 6 {
		t.Errorf("%+v", h)
	}
}

// What is asked for only later has risen by nothing yet.
func TestAskedForLater(t *testing.T) {
	p := &pushes{t: t, of: good}
	p.flush(good, reloadStat, 1, "x.y", 5)
	p.asked = []string{"x.y", "x.z"}
	if stats, _ := p.flush(good, reloadStat, 1, "x.y", 8); stats.Values["x.y"] != (model.StatisticValue{Value: 8}) || len(stats.Values) != 1 {
		t.Errorf("%+v", stats.Values)
	}
	// x.z was asked for all the while, and is none before it is one.
	if stats, _ := p.flush(good, reloadStat, 1, "x.y", 9, "x.z", 2); stats.Values["x.y"].Increase != 1 || stats.Values["x.z"].Increase != 2 {
		t.Errorf("%+v", stats.Values)
	}
}

// Whatever is sent, what is kept is bounded, and what is no count is not taken.
func TestWhatIsKeptIsBounded(t *testing.T) {
	p := &pushes{t: t, of: good}
	for i := range 20 {
		var pairs []any
		for j := range 2 * maxRead {
			pairs = append(pairs, fmt.Sprint(seenPrefix, i, ".", j), 1)
		}
		p.flush(good, append(pairs, reloadStat, i%2)...)
	}
	if n := max(len(p.a.meter.tracks), len(p.a.totals), len(p.a.flush.values)); n > maxRead {
		t.Errorf("%d statistics are kept", n)
	}
	p = &pushes{t: t, of: good}
	p.flush(good, reloadStat, 1)
	for _, v := range []float64{math.NaN(), math.Inf(1), -1, 1e300} {
		if stats, said := p.flush(good, completedStat, v, reloadStat, 1); !said || stats.Requests != 0 {
			t.Errorf("%v are %d requests", v, stats.Requests)
		}
	}
}

// A message says who it is of before it is decoded, and is what generated code writes.
func TestMessageNamesItsNode(t *testing.T) {
	for _, want := range []string{"edge-1", ""} {
		sent := &metricsv3.StreamMetricsMessage{}
		if want != "" {
			sent.Identifier = &metricsv3.StreamMetricsMessage_Identifier{Node: &corev3.Node{Id: want, Cluster: "c"}}
		}
		name := completedStat
		sent.EnvoyMetrics = []*prom.MetricFamily{{Name: &name}}
		raw, err := proto.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := proto.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if got := m.Node(); got != want || len(m.Bytes()) != len(raw) {
			t.Errorf("it is of %q instead of %q, %d bytes instead of %d", got, want, len(m.Bytes()), len(raw))
		}
	}
}

// FuzzTake has an account take whatever an Envoy may send, in two messages over and over. Nothing is negative, and what is kept is bounded.
func FuzzTake(f *testing.F) {
	for _, name := range captures {
		messages := captured(f, name)
		f.Add(messages[0], messages[len(messages)-1])
	}
	f.Add(message(f, 1, completedStat, 1, reloadStat, 1), message(f, 1, "="+versionStat, 1))
	f.Add([]byte{}, []byte{0x12, 0x80})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var a Account
		for i := range 6 {
			raw := one
			if i%2 == 1 {
				raw = two
			}
			for _, of := range []Chain{bad, good} {
				r, err := Read(raw, []string{"x"})
				if err != nil {
					return
				}
				stats, _ := a.Take(r, of, []string{"x"}, time.UnixMilli(int64(i)*2000))
				h := stats.Health
				for _, n := range append([]int64{stats.Requests, stats.Errors, stats.Denied, stats.Seen, h.Stuck, h.Misses, h.Hangs, h.Reloads, h.ReloadFailures, h.Panics}, h.Latency[:]...) {
					if n < 0 {
						t.Fatalf("it counts %d: %+v", n, stats)
					}
				}
			}
		}
		if n := max(len(a.meter.tracks), len(a.totals), len(a.flush.values)); n > maxRead {
			t.Fatalf("%d statistics are kept", n)
		}
	})
}
