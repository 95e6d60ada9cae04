package sdk

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// ledger is a host that writes down which context each call counted for. Its contexts hold the header x-id, whose value is
// the context's id.
type ledger struct {
	abi.Calls
	vm *vm
	// current is the context that calls count for; alive are those that there are.
	current uint32
	alive   map[uint32]bool
	// wrote is "CALL CONTEXT ARGUMENT" of each call that changes something.
	wrote     []string
	logs      []string
	lastToken uint32
	now       time.Time
	period    time.Duration
	queue     [][]byte
	// metricDelay is WAFT_METRIC_DELAY_MS.
	metricDelay string
}

// newLedger is a VM with one plugin, context 1, that was configured by configure.
func newLedger(t testing.TB, configure func(p *Plugin) Filter) *ledger {
	t.Helper()
	return newDelayedLedger(t, "0", configure)
}

// newDelayedLedger is [newLedger] with a WAFT_METRIC_DELAY_MS.
func newDelayedLedger(t testing.TB, delay string, configure func(p *Plugin) Filter) *ledger {
	t.Helper()
	h := &ledger{alive: map[uint32]bool{}, now: time.Unix(1_000_000, 0), metricDelay: delay}
	h.vm = newVM(abi.NewHost(h), func(p *Plugin, _ []byte) (Filter, error) { return configure(p), nil })
	h.create(1, 0)
	h.on(1, func() {
		if !h.vm.Configure(1, 0) {
			t.Fatal("the configuration was refused")
		}
	})
	return h
}

// on makes a callback on a context, as the host does: the effective context is the callback's own at first.
func (h *ledger) on(id uint32, callback func()) {
	h.current = id
	callback()
	h.current = 0
}

func (h *ledger) create(id, parent uint32) {
	h.alive[id] = true
	h.on(id, func() { h.vm.ContextCreate(id, parent) })
}

// begin opens a stream and sends its request's headers.
func (h *ledger) begin(id uint32) (action abi.Action) {
	h.create(id, 1)
	h.on(id, func() { action = h.vm.RequestHeaders(id, true) })
	return action
}

// end ends a stream as Envoy does.
func (h *ledger) end(id uint32) {
	h.on(id, func() { h.vm.Log(id) })
	h.on(id, func() { h.vm.Delete(id) })
	delete(h.alive, id)
}

// answer brings the answer to an HTTP callout.
func (h *ledger) answer(id, token uint32) {
	h.on(id, func() { h.vm.HTTPCallResponse(id, token, 1, 0, 0) })
}

// pass moves the clock and ticks.
func (h *ledger) pass(d time.Duration) {
	h.now = h.now.Add(d)
	if h.period > 0 {
		h.on(1, func() { h.vm.Tick(1) })
	}
}

func (h *ledger) write(call, argument string) abi.Status {
	h.wrote = append(h.wrote, fmt.Sprint(call, " ", h.current, " ", argument))
	return abi.OK
}

func (h *ledger) Getenv(name string) string {
	if name == envMetricDelay {
		return h.metricDelay
	}
	return ""
}
func (h *ledger) Log(_ abi.LogLevel, message string) abi.Status {
	h.logs = append(h.logs, message)
	return abi.OK
}
func (h *ledger) LogLevel() (abi.LogLevel, abi.Status) { return abi.LogTrace, abi.OK }
func (h *ledger) Now() (uint64, abi.Status)            { return uint64(h.now.UnixNano()), abi.OK }
func (h *ledger) GetProperty(string) ([]byte, abi.Status) {
	return []byte(strconv.Itoa(int(h.current))), abi.OK
}
func (h *ledger) SetProperty(name string, value []byte) abi.Status {
	return h.write("property", name+"="+string(value))
}
func (h *ledger) DefineMetric(abi.MetricType, string) (uint32, abi.Status) { return 0, abi.OK }
func (h *ledger) IncrementMetric(uint32, int64) abi.Status                 { return abi.OK }
func (h *ledger) HeaderValue(abi.MapType, string) (string, abi.Status) {
	return strconv.Itoa(int(h.current)), abi.OK
}
func (h *ledger) ReplaceHeader(_ abi.MapType, name, value string) abi.Status {
	return h.write("set", name+"="+value)
}
func (h *ledger) AddHeader(_ abi.MapType, name, value string) abi.Status {
	return h.write("add", name+"="+value)
}
func (h *ledger) RemoveHeader(_ abi.MapType, name string) abi.Status { return h.write("remove", name) }
func (h *ledger) SetHeaderPairs(abi.MapType, []byte) abi.Status      { return h.write("pairs", "") }
func (h *ledger) ContinueStream(s abi.StreamType) abi.Status {
	return h.write("continue", strconv.Itoa(int(s)))
}
func (h *ledger) CloseStream(s abi.StreamType) abi.Status {
	return h.write("close", strconv.Itoa(int(s)))
}
func (h *ledger) Done() abi.Status { return h.write("done", "") }
func (h *ledger) GRPCSend(token uint32, m []byte, end bool) abi.Status {
	return h.write("send", fmt.Sprint(token, string(m), end))
}
func (h *ledger) GRPCClose(token uint32) abi.Status               { return h.write("half-close", fmt.Sprint(token)) }
func (h *ledger) GRPCCancel(token uint32) abi.Status              { return h.write("cancel", fmt.Sprint(token)) }
func (h *ledger) Status() (uint32, string, abi.Status)            { return 0, "", abi.OK }
func (h *ledger) RegisterSharedQueue(string) (uint32, abi.Status) { return 7, abi.OK }
func (h *ledger) HeaderMapSize(abi.MapType) (int, abi.Status)     { return int(h.current), abi.OK }
func (h *ledger) GetBuffer(abi.BufferType, int, int) ([]byte, abi.Status) {
	return []byte(strconv.Itoa(int(h.current))), abi.OK
}
func (h *ledger) BufferSize(abi.BufferType) (int, abi.Status) { return 1, abi.OK }
func (h *ledger) SetBuffer(_ abi.BufferType, _, _ int, data []byte) abi.Status {
	return h.write("body", string(data))
}
func (h *ledger) CallForeignFunction(name string, _ []byte) ([]byte, abi.Status) {
	return nil, h.write("foreign", name)
}

func (h *ledger) HeaderPairs(abi.MapType) ([]byte, abi.Status) {
	return abi.AppendPairs(nil, []abi.Pair{{Name: "x-id", Value: strconv.Itoa(int(h.current))}, {Name: ":status", Value: "200"}}), abi.OK
}

func (h *ledger) SendLocalResponse(status uint32, _ string, _, _ []byte, _ int32) abi.Status {
	return h.write("reply", strconv.Itoa(int(status)))
}

func (h *ledger) SetEffectiveContext(id uint32) abi.Status {
	if !h.alive[id] {
		return abi.BadArgument
	}
	h.current = id
	return abi.OK
}

func (h *ledger) SetTickPeriod(milliseconds uint32) abi.Status {
	h.period = time.Duration(milliseconds) * time.Millisecond
	return abi.OK
}

func (h *ledger) HTTPCall(cluster string, _, _, _ []byte, _ uint32) (uint32, abi.Status) {
	h.lastToken += 4
	return h.lastToken, h.write("fetch", fmt.Sprint(cluster, h.lastToken))
}

func (h *ledger) GRPCStream(string, string, string, []byte) (uint32, abi.Status) {
	h.lastToken += 4
	return h.lastToken, h.write("open", fmt.Sprint(h.lastToken))
}

func (h *ledger) DequeueShared(uint32) ([]byte, abi.Status) {
	if len(h.queue) == 0 {
		return nil, abi.Empty
	}
	item := h.queue[0]
	h.queue = h.queue[1:]
	return item, abi.OK
}

// awaiting is a filter whose request handler waits.
type awaiting func(ctx context.Context, r *Request) Action

func (a awaiting) NewHandler() Handler                                     { return a }
func (a awaiting) OnRequestHeaders(ctx context.Context, r *Request) Action { return a(ctx, r) }

// prompt is a filter whose request handler cannot wait.
type prompt func(r *Request) Action

func (p prompt) NewHandler() Handler                { return p }
func (p prompt) OnRequestHeaders(r *Request) Action { return p(r) }

// fetchOnce waits for a callout.
func fetchOnce(ctx context.Context) error {
	_, err := Fetch(ctx, FetchRequest{Cluster: "c"})
	return err
}

// counted is what a VM holds on to.
func (v *vm) held() string {
	timers := 0
	for _, p := range v.plugins {
		if h, ok := p.clockwork.(*timerHeap); ok {
			timers += len(h.timers)
		}
	}
	return fmt.Sprintf("%d streams, %d callouts, %d timers, %d ready", v.streams.open, v.callees.size(), timers, len(v.ready))
}
