package wasmhost

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// grpcTarget is what the first argument of proxy_grpc_call and proxy_grpc_stream says.
type grpcTarget struct {
	parsed   bool // it is a message envoy.config.core.v3.GrpcService; otherwise it is the name of a cluster
	envoy    bool // it has envoy_grpc
	google   bool // it has google_grpc
	cluster  string
	metadata Headers // initial_metadata
}

// Fields of envoy.config.core.v3.GrpcService and of the messages in it.
const (
	fieldEnvoyGRPC       = 1
	fieldGoogleGRPC      = 2
	fieldInitialMetadata = 5
	fieldClusterName     = 1
	fieldHeaderKey       = 1
	fieldHeaderValue     = 2
)

// parseGRPCService reads the message, as Envoy does before it takes the bytes for a name. Some names happen to be messages too ("empty" is
// one with an unknown field), which then have no target.
func parseGRPCService(b []byte) grpcTarget {
	t := grpcTarget{parsed: true}
	ok := eachField(b, func(field protowire.Number, value []byte) bool {
		switch field {
		case fieldEnvoyGRPC:
			t.envoy, t.google = true, false
			return eachField(value, func(field protowire.Number, value []byte) bool {
				if field == fieldClusterName {
					t.cluster = string(value)
				}
				return utf8.Valid(value)
			})
		case fieldGoogleGRPC:
			t.envoy, t.google = false, true
		case fieldInitialMetadata:
			var h Header
			ok := eachField(value, func(field protowire.Number, value []byte) bool {
				switch field {
				case fieldHeaderKey:
					h.Name = strings.ToLower(string(value))
				case fieldHeaderValue:
					h.Value = string(value)
				}
				return true
			})
			t.metadata = append(t.metadata, h)
			return ok
		}
		return true
	})
	if !ok {
		return grpcTarget{}
	}
	return t
}

// eachField calls f for every field of a message that is a string, bytes or a message. It is false if the bytes are no message.
func eachField(b []byte, f func(field protowire.Number, value []byte) bool) bool {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			if n < 0 || !f(field, value) {
				return false
			}
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}
