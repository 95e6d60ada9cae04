package sdk

import (
	"testing"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// bareHost is a host with one request header, x-id.
type bareHost struct {
	abi.Calls
	id      string
	counted int
	replies int
}

func (h *bareHost) Getenv(string) string                                     { return "0" }
func (h *bareHost) Log(abi.LogLevel, string) abi.Status                      { return abi.OK }
func (h *bareHost) GetProperty(string) ([]byte, abi.Status)                  { return nil, abi.NotFound }
func (h *bareHost) DefineMetric(abi.MetricType, string) (uint32, abi.Status) { return 0, abi.OK }
func (h *bareHost) IncrementMetric(uint32, int64) abi.Status                 { h.counted++; return abi.OK }
func (h *bareHost) HeaderValue(_ abi.MapType, _ string) (string, abi.Status) { return h.id, abi.OK }
func (h *bareHost) HeaderPairs(abi.MapType) ([]byte, abi.Status) {
	return abi.AppendPairs(nil, []abi.Pair{{Name: "x-id", Value: h.id}}), abi.OK
}
func (h *bareHost) SendLocalResponse(uint32, string, []byte, []byte, int32) abi.Status {
	h.replies++
	return abi.OK
}

// keeper keeps the request's headers and reads them with the response.
type keeper struct{ seen []string }

func (k *keeper) NewHandler() Handler { return k }
func (k *keeper) OnRequestHeaders(r *Request) Action {
	r.Headers().Keep()
	return Continue
}
func (k *keeper) OnResponseHeaders(r *Response) Action {
	v, _ := r.Request().Headers().Get("x-id")
	k.seen = append(k.seen, v)
	return Continue
}

// TestInterleavedStreams runs streams on top of each other, some of which end without the log callback.
func TestInterleavedStreams(t *testing.T) {
	t.Parallel()
	h, k := &bareHost{}, &keeper{}
	v := newVM(abi.NewHost(h), func(*Plugin, []byte) (Filter, error) { return k, nil })
	v.ContextCreate(1, 0)
	if !v.Configure(1, 0) {
		t.Fatal("the configuration was refused")
	}
	begin := func(id uint32, value string) {
		v.ContextCreate(id, 1)
		h.id = value
		v.RequestHeaders(id, true)
	}
	begin(2, "two")
	begin(3, "three")
	v.ResponseHeaders(2, true)
	v.ResponseHeaders(3, true)
	v.Delete(2)
	begin(4, "four")
	v.ResponseHeaders(4, true)
	v.ResponseHeaders(3, true)
	v.Delete(3)
	if v.RequestHeaders(3, true); v.streams.get(3) == nil || v.streams.get(3) == v.streams.get(4) {
		t.Error("an event for a stream that has ended went to another one")
	}
	v.Delete(3)
	// A stream whose request never came must not see what an earlier one kept.
	v.ContextCreate(5, 1)
	h.id = "live"
	v.ResponseHeaders(5, true)
	want := []string{"two", "three", "four", "three", "live"}
	if len(k.seen) != len(want) {
		t.Fatalf("saw %q, want %q", k.seen, want)
	}
	for i := range want {
		if k.seen[i] != want[i] {
			t.Errorf("saw %q, want %q", k.seen, want)
		}
	}
	if h.counted != 4 {
		t.Errorf("%d streams counted, want 4", h.counted)
	}
	v.Log(99)
	v.Delete(99)
	if v.streams.open != 2 {
		t.Errorf("%d streams are open, want 2", v.streams.open)
	}
}

// TestStrangers wants events of streams that nobody announced, or whose plugin has no configuration, to be refused.
func TestStrangers(t *testing.T) {
	t.Parallel()
	h := &bareHost{}
	v := newVM(abi.NewHost(h), func(*Plugin, []byte) (Filter, error) { return nil, nil })
	v.ContextCreate(1, 0)
	if v.Configure(1, 0) {
		t.Fatal("no filter, and no refusal")
	}
	v.ContextCreate(2, 1)
	for _, id := range []uint32{2, 3} {
		if action := v.RequestHeaders(id, true); action == abi.Continue {
			t.Errorf("stream %d passed", id)
		}
		if action := v.RequestBody(id, 1, true); action == abi.Continue {
			t.Errorf("the body of stream %d passed", id)
		}
		if action := v.ResponseHeaders(id, true); action != abi.Continue {
			t.Errorf("the answer to stream %d was held", id)
		}
	}
	if h.replies != 2 {
		t.Errorf("%d replies, want one for each stream", h.replies)
	}
}

// TestIdleStreamsAreBounded opens more streams at once than are kept afterwards.
func TestIdleStreamsAreBounded(t *testing.T) {
	t.Parallel()
	v := newVM(abi.NewHost(&bareHost{}), func(*Plugin, []byte) (Filter, error) { return &keeper{}, nil })
	v.ContextCreate(1, 0)
	v.Configure(1, 0)
	const burst = 10 * maxIdleStreams
	for id := range uint32(burst) {
		v.ContextCreate(id+2, 1)
	}
	for id := range uint32(burst) {
		v.Delete(id + 2)
	}
	if v.streams.open != 0 || len(v.idle) != maxIdleStreams {
		t.Errorf("%d open, %d idle; want 0 and %d", v.streams.open, len(v.idle), maxIdleStreams)
	}
}

// TestRequestAllocations bounds what the sdk itself allocates for a stream.
func TestRequestAllocations(t *testing.T) {
	v := newVM(abi.NewHost(&bareHost{}), func(*Plugin, []byte) (Filter, error) { return passing{}, nil })
	v.ContextCreate(1, 0)
	v.Configure(1, 0)
	id := uint32(1)
	allocations := testing.AllocsPerRun(1000, func() {
		id++
		v.ContextCreate(id, 1)
		v.RequestHeaders(id, true)
		v.ResponseHeaders(id, false)
		v.ResponseBody(id, 3, true)
		v.Log(id)
		v.Delete(id)
	})
	if allocations != 0 {
		t.Errorf("%v allocations a stream, want none", allocations)
	}
}

// passing is a handler that looks at one header.
type passing struct{}

func (passing) NewHandler() Handler { return passing{} }
func (passing) OnRequestHeaders(r *Request) Action {
	r.Headers().Get("x-id")
	return Continue
}
func (passing) OnStreamDone(*Stream) {}
