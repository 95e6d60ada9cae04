package sdk

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// counting is a ledger that writes down what counters are told, and who asks for ticks.
type counting struct {
	*ledger
	names   []string
	looks   int // at the clock
	refuses bool
}

func (h *counting) DefineMetric(_ abi.MetricType, name string) (uint32, abi.Status) {
	h.names = append(h.names, name)
	return uint32(len(h.names) - 1), abi.OK
}

func (h *counting) IncrementMetric(id uint32, n int64) abi.Status {
	h.wrote = append(h.wrote, fmt.Sprintf("%s %d", h.names[id], n))
	return abi.OK
}

func (h *counting) GetMetric(uint32) (uint64, abi.Status) { return 0, abi.OK }

func (h *counting) SetTickPeriod(milliseconds uint32) abi.Status {
	if h.refuses {
		return abi.InternalFailure
	}
	if milliseconds > 0 {
		h.wrote = append(h.wrote, fmt.Sprintf("tick of %d: %d ms", h.current, milliseconds))
	}
	return h.ledger.SetTickPeriod(milliseconds)
}

func (h *counting) Now() (uint64, abi.Status) {
	h.looks++
	return h.ledger.Now()
}

// startCounting makes a VM whose plugins, 1 and 2, count requests in "a" as well.
func startCounting(t *testing.T, delay string) *counting {
	h := &counting{ledger: &ledger{alive: map[uint32]bool{}, now: time.Unix(1_000_000, 0), metricDelay: delay}}
	configure := func(p *Plugin, _ []byte) (Filter, error) {
		a, err := p.Counter("a")
		return prompt(func(*Request) Action { a.Inc(); return Continue }), err
	}
	h.vm = newVM(abi.NewHost(h), configure)
	for id := range uint32(2) {
		h.create(id+1, 0)
		h.on(id+1, func() {
			if !h.vm.Configure(id+1, 0) {
				t.Fatal("the configuration was refused")
			}
		})
	}
	return h
}

// took is what was written down since the last call.
func (h *counting) took() []string {
	wrote := h.wrote
	h.wrote = nil
	return wrote
}

func TestCountsGoWithTheBeat(t *testing.T) {
	h := startCounting(t, "")
	for id := uint32(10); id < 15; id++ {
		h.begin(id)
		h.end(id)
	}
	if want := []string{"tick of 1: 100 ms"}; !slices.Equal(h.took(), want) {
		t.Errorf("before the beat the host was told %q, want %q", h.wrote, want)
	}
	if h.looks != 1 {
		t.Errorf("the clock was looked at %d times", h.looks)
	}
	h.now = h.now.Add(DefaultMetricDelay)
	h.on(1, func() { h.vm.Tick(1) })
	if got, want := h.took(), []string{"waft.requests.1 5", "a 5"}; !slices.Equal(got, want) {
		t.Errorf("the beat told the host %q, want %q", got, want)
	}
	if h.period != 0 {
		t.Errorf("the host ticks every %v without requests", h.period)
	}
	h.begin(20)
	if got, want := h.took(), []string{"tick of 1: 100 ms"}; !slices.Equal(got, want) {
		t.Errorf("the next request told the host %q, want %q", got, want)
	}
	h.on(1, func() { h.vm.Delete(1) })
	if got, want := h.took(), []string{"waft.requests.1 1", "a 1"}; !slices.Equal(got, want) {
		t.Errorf("the end of the plugin told the host %q, want %q", got, want)
	}
	h.end(20)
}

func TestCountsAtOnce(t *testing.T) {
	for name, h := range map[string]*counting{"no delay": startCounting(t, "0"), "no ticks": startCounting(t, "100")} {
		h.refuses = name == "no ticks"
		h.begin(10)
		if got, want := h.took(), []string{"waft.requests.1 1", "a 1"}; !slices.Equal(got, want) {
			t.Errorf("%s: the host was told %q, want %q", name, got, want)
		}
	}
}

// TestBeatOfAnotherPlugin: a counter is its plugin's, whoever counts with it, and so is the tick that it waits for.
func TestBeatOfAnotherPlugin(t *testing.T) {
	h := startCounting(t, "100")
	h.on(1, func() {
		h.vm.context = 1
		h.vm.plugins[2].metrics["a"].count.add(1)
	})
	if got, want := h.took(), []string{"tick of 2: 100 ms"}; !slices.Equal(got, want) {
		t.Errorf("the host was told %q, want %q", got, want)
	}
}

func TestManyCountsDoNotWait(t *testing.T) {
	h := startCounting(t, "10000")
	a := h.vm.plugins[1].metrics["a"].count
	h.on(1, func() {
		a.add(1)
		a.add(manyCounts)
		a.add(2)
		Counter{a}.Value()
	})
	if got, want := h.took(), []string{"tick of 1: 10000 ms", fmt.Sprint("a ", manyCounts+1), "a 2"}; !slices.Equal(got, want) {
		t.Errorf("the host was told %q, want %q", got, want)
	}
}

// TestNoTicksAfterTheEnd: Envoy goes on ticking for a plugin that is gone.
func TestNoTicksAfterTheEnd(t *testing.T) {
	h := startCounting(t, "100")
	h.begin(10)
	h.end(10)
	h.on(1, func() { h.vm.Delete(1) })
	if h.period != 0 {
		t.Errorf("the plugin is gone and the host ticks every %v", h.period)
	}
}

// TestClockSetForward: the host's own timer for an hour does not see that the clock went on by two.
func TestClockSetForward(t *testing.T) {
	h := startCounting(t, "100")
	p := h.vm.plugins[1]
	h.on(1, func() {
		h.vm.context = 1
		p.Every(time.Hour, func(context.Context) {})
		h.vm.drive()
	})
	h.now = h.now.Add(2 * time.Hour)
	h.begin(10)
	if h.period != minTick {
		t.Errorf("after the jump the host ticks in %v, want %v", h.period, minTick)
	}
}

func TestCountsAreListedOnce(t *testing.T) {
	h := startCounting(t, "10000")
	p := h.vm.plugins[1]
	a := Counter{p.metrics["a"].count}
	h.on(1, func() {
		for range 100 {
			a.Add(0)
			a.Inc()
			a.Value()
		}
	})
	if n := len(p.pulse.counts); n != 1 {
		t.Errorf("%d entries for one counter", n)
	}
}

func TestPluginMadeAnew(t *testing.T) {
	h := startCounting(t, "100")
	h.begin(10)
	h.took()
	h.create(1, 0)
	if got, want := h.took(), []string{"waft.requests.1 1", "a 1"}; !slices.Equal(got, want) {
		t.Errorf("the host was told %q, want %q", got, want)
	}
}

// TestRefusedTick: a host that refuses one tick is asked for the next.
func TestRefusedTick(t *testing.T) {
	h := startCounting(t, "100")
	h.refuses = true
	h.begin(10)
	h.refuses = false
	p := h.vm.plugins[1]
	h.on(1, func() {
		h.vm.context = 1
		p.After(10*time.Millisecond, func(context.Context) {})
		h.vm.drive()
	})
	if h.period != 10*time.Millisecond {
		t.Errorf("the host ticks every %v", h.period)
	}
}

func TestCoarseNow(t *testing.T) {
	h := startCounting(t, "100")
	p := h.vm.plugins[1]
	var first, second, third time.Time
	h.on(1, func() { first = p.CoarseNow() })
	h.now = h.now.Add(99 * time.Millisecond)
	h.on(1, func() { second = p.CoarseNow() })
	if !first.Equal(second) || h.looks != 1 {
		t.Errorf("within the beat: %v and %v, %d looks at the clock", first, second, h.looks)
	}
	h.now = h.now.Add(time.Millisecond)
	h.on(1, func() { h.vm.Tick(1) })
	h.on(1, func() { third = p.CoarseNow() })
	if !third.Equal(h.now) {
		t.Errorf("after the beat it is %v, want %v", third, h.now)
	}
}
