package xds

import (
	"fmt"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/envoy"
)

// maxEncodedBytes bounds the resources that encoder keeps.
const maxEncodedBytes = 32 << 20

// fieldResources is the number of the field resources, in DiscoveryResponse and in DeltaDiscoveryResponse.
const fieldResources = 2

// encoder turns offers into the bytes of the field resources, and keeps them, so that a chain that goes to a thousand nodes is rendered and encoded once.
// The zero value is ready. It may be used concurrently.
type encoder struct {
	// making is held while something is encoded that many may wait for: a thousand nodes that are told at once must not make it a thousand times. It is taken
	// before mu.
	making sync.Mutex

	mu sync.Mutex
	// young and old are two generations: what is used moves to young; when young is full it becomes old, and old goes.
	young, old map[string][]byte
	youngBytes int
}

// key names what an offer says. A filter's version covers all that is in it but the sides of a split, which the names of chains cover.
func (o *offer) key(delta bool) string {
	var some [512]byte // mostly enough
	b := append(some[:0], o.slot...)
	if delta {
		b = append(b, "\x00delta"...)
	}
	b = append(append(b, '\x00'), o.version...)
	for _, f := range o.filters {
		for _, part := range [...]string{f.Name, f.side, f.version} {
			b = append(append(b, '\x00'), part...)
		}
	}
	return string(b)
}

// field is the resource of an offer as it stands in a response: tag, length and bytes.
func (e *encoder) field(o *offer, delta bool) ([]byte, error) {
	key := o.key(delta)
	if b := e.get(key); b != nil {
		return b, nil
	}
	e.making.Lock()
	defer e.making.Unlock()
	if b := e.get(key); b != nil {
		return b, nil // somebody else was first
	}
	filters := make([]envoy.WasmFilter, 0, len(o.filters))
	for _, f := range o.filters {
		wasm := f.WasmFilter
		wasm.Remote.Unfetched = o.fetch
		filters = append(filters, wasm)
	}
	resource, err := envoy.ChainResource(o.slot, filters)
	if err != nil {
		return nil, err
	}
	var message proto.Message = resource
	if delta {
		message = &discoveryv3.Resource{Name: o.slot, Version: o.version, Resource: resource}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode slot %s: %w", o.slot, err)
	}
	b := protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, len(raw)+8), fieldResources, protowire.BytesType), raw)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep(key, b)
	return b, nil
}

func (e *encoder) get(key string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.young[key]
	if b == nil {
		if b = e.old[key]; b != nil {
			e.keep(key, b)
		}
	}
	return b
}

// keep is called with mu held.
func (e *encoder) keep(key string, b []byte) {
	size := len(key) + len(b)
	if e.youngBytes+size > maxEncodedBytes/2 {
		e.old, e.young, e.youngBytes = e.young, nil, 0
	}
	if e.young == nil {
		e.young = map[string][]byte{}
	}
	if e.young[key] == nil {
		e.youngBytes += size
	}
	e.young[key] = b
}
