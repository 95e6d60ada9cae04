package sdktest

import (
	"slices"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// sharedValue is a value of shared data and the number of its last write.
type sharedValue struct {
	value []byte
	cas   uint32
}

// SharedData writes a value of shared data, as another worker would.
func (f *Filter) SharedData(key string, value []byte) { f.host.SetSharedData(key, value, 0) }

func (h *host) SharedData(key string) ([]byte, uint32, abi.Status) {
	v, ok := h.shared[key]
	if !ok {
		return nil, 0, abi.NotFound
	}
	return v.value, v.cas, abi.OK
}

// SetSharedData compares only where there is a value, as Envoy does.
func (h *host) SetSharedData(key string, value []byte, cas uint32) abi.Status {
	if v, ok := h.shared[key]; ok && cas != 0 && cas != v.cas {
		return abi.CASMismatch
	}
	h.lastCAS++
	h.shared[key] = sharedValue{slices.Clone(value), h.lastCAS}
	return abi.OK
}

// queue is a shared queue; its token is its place among them, from 1.
type queue struct {
	name  string
	items [][]byte
}

func (h *host) RegisterSharedQueue(name string) (uint32, abi.Status) {
	if token, status := h.ResolveSharedQueue("", name); status == abi.OK {
		return token, abi.OK
	}
	h.queues = append(h.queues, &queue{name: name})
	return uint32(len(h.queues)), abi.OK
}

// ResolveSharedQueue finds the queues of every vm: there is one filter here.
func (h *host) ResolveSharedQueue(_, name string) (uint32, abi.Status) {
	for i, q := range h.queues {
		if q.name == name {
			return uint32(i + 1), abi.OK
		}
	}
	return 0, abi.NotFound
}

func (h *host) queue(token uint32) *queue {
	if token == 0 || int(token) > len(h.queues) {
		return nil
	}
	return h.queues[token-1]
}

func (h *host) DequeueShared(token uint32) ([]byte, abi.Status) {
	q := h.queue(token)
	if q == nil {
		return nil, abi.NotFound
	}
	if len(q.items) == 0 {
		return nil, abi.Empty
	}
	item := q.items[0]
	q.items = q.items[1:]
	return item, abi.OK
}

func (h *host) EnqueueShared(token uint32, item []byte) abi.Status {
	q := h.queue(token)
	if q == nil {
		return abi.NotFound
	}
	q.items = append(q.items, slices.Clone(item))
	return abi.OK
}

// Push puts an item into a queue, as another worker would, and tells the filter. The queue must be there.
func (f *Filter) Push(name string, item []byte) {
	f.t.Helper()
	token, status := f.host.ResolveSharedQueue("", name)
	if status != abi.OK {
		f.t.Fatalf("push to queue %s: the filter has not made it", name)
	}
	f.host.EnqueueShared(token, item)
	f.in(pluginID, func() { f.guest.QueueReady(pluginID, token) })
	f.pump()
}

// Foreign makes a foreign function that the filter can call.
func Foreign(name string, call func(argument []byte) []byte) Option {
	return func(o *options) { o.foreign[name] = call }
}

func (h *host) CallForeignFunction(name string, argument []byte) ([]byte, abi.Status) {
	call, ok := h.foreign[name]
	if !ok {
		return nil, abi.NotFound
	}
	return call(slices.Clone(argument)), abi.OK
}
