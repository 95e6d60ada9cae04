package xds

import (
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/envoy"
)

// fieldResources is the number of the field resources, in DiscoveryResponse and in DeltaDiscoveryResponse.
const fieldResources = 2

// encoder turns offers into the bytes of the field resources, and keeps them, so that a chain that goes to a thousand nodes is rendered and encoded once.
// The zero value is ready. It may be used concurrently.
type encoder struct{ kept encoded.Cache }

// appendKey appends what names what an offer says. A filter's version covers all that is in it but the sides of a split, which the names of chains cover.
func (o *offer) appendKey(b []byte, delta bool) []byte {
	b = append(b, o.slot...)
	if delta {
		b = append(b, "\x00delta"...)
	}
	b = append(append(b, '\x00'), o.version...)
	b = append(b, '\x00', byte(o.again))
	for _, f := range o.filters {
		for _, part := range [...]string{f.Name, f.side, f.version} {
			b = append(append(b, '\x00'), part...)
		}
	}
	return b
}

// field is the resource of an offer as it stands in a response: tag, length and bytes.
func (e *encoder) field(o *offer, delta bool) ([]byte, error) {
	var some [512]byte // mostly enough
	return e.kept.Get(o.appendKey(some[:0], delta), func() ([]byte, error) { return encodeField(o, delta) })
}

func encodeField(o *offer, delta bool) ([]byte, error) {
	filters := make([]envoy.WasmFilter, 0, len(o.filters))
	for _, f := range o.filters {
		wasm := f.WasmFilter
		wasm.Remote.Unfetched, wasm.Remote.Again = o.fetch, o.again
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
	return protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, len(raw)+8), fieldResources, protowire.BytesType), raw), nil
}
