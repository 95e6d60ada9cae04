package main

import (
	"bytes"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// dialect is what nodes speak: which call they make, and how they ask and answer. Messages are put together by hand, field by field, so that a node costs
// next to nothing beside the server that is measured; the test holds them against the generated types.
type dialect struct {
	method string
	// ask is the first request of a node.
	ask func(node string) []byte
	// accept is the ACK of a response.
	accept func(r response) []byte
	// version and nonce are the fields' numbers in a response.
	version, nonce protowire.Number
}

const discovery = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

var dialects = map[string]dialect{
	"mcp": {
		method: "/istio.mcp.v1alpha1.ResourceSource/EstablishResourceStream",
		ask: func(node string) []byte {
			b := text(nil, 2, collection)
			b = message(b, 1, text(nil, 1, node))
			return number(b, 6, 1)
		},
		accept:  func(r response) []byte { return number(text(text(nil, 2, collection), 4, r.nonce), 6, 1) },
		version: 1, nonce: 5,
	},
	"ads": {
		method: discovery + "StreamAggregatedResources",
		ask: func(node string) []byte {
			return text(text(message(nil, 2, text(nil, 1, node)), 3, slot), 4, typeURL)
		},
		accept: func(r response) []byte {
			return text(text(text(text(nil, 1, r.version), 3, slot), 4, typeURL), 5, r.nonce)
		},
		version: 1, nonce: 5,
	},
	"delta": {
		method: discovery + "DeltaAggregatedResources",
		ask: func(node string) []byte {
			return text(text(message(nil, 1, text(nil, 1, node)), 2, typeURL), 3, slot)
		},
		accept:  func(r response) []byte { return text(text(nil, 2, typeURL), 6, r.nonce) },
		version: 1, nonce: 5,
	},
}

// What is asked for.
const (
	collection = "waft/v1/filters"
	slot       = "waft"
	typeURL    = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
)

func message(b []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), content)
}

func text(b []byte, field protowire.Number, value string) []byte {
	return message(b, field, []byte(value))
}

func number(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

// response is what a node reads of a response.
type response struct {
	version, nonce string
	// change is the number of the change that is in it.
	change int
}

// changeMark stands before the number of the change, of eight digits, in the resource.
var changeMark = []byte("change-")

// read reads a response. Its resource need not be taken apart.
func (d dialect) read(m []byte) (response, error) {
	var r response
	for rest := m; len(rest) > 0; {
		field, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return r, protowire.ParseError(n)
		}
		rest = rest[n:]
		size := protowire.ConsumeFieldValue(field, kind, rest)
		if size < 0 {
			return r, protowire.ParseError(size)
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(rest)
			switch field {
			case d.version:
				r.version = string(value)
			case d.nonce:
				r.nonce = string(value)
			}
		}
		rest = rest[size:]
	}
	at := bytes.Index(m, changeMark)
	if at < 0 || at+len(changeMark)+8 > len(m) {
		return r, fmt.Errorf("a response of %d bytes has no change in it", len(m))
	}
	var err error
	r.change, err = strconv.Atoi(string(m[at+len(changeMark) : at+len(changeMark)+8]))
	return r, err
}
