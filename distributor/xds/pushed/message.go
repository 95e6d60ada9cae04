package pushed

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Message is an envoy.service.metrics.v3.StreamMetricsMessage, kept as the bytes of its fields: most are of nodes that nobody asks about, and are dropped as
// they came. The zero value is empty. It may not be used concurrently.
type Message struct {
	// fields is a message that has no fields, so that all of them are unknown to it.
	fields emptypb.Empty
}

// ProtoReflect implements proto.Message.
func (m *Message) ProtoReflect() protoreflect.Message { return m.fields.ProtoReflect() }

// Bytes are the fields as they came.
func (m *Message) Bytes() []byte { return m.fields.ProtoReflect().GetUnknown() }

// Numbers of fields on the wire.
const (
	fieldIdentifier = 1 // of StreamMetricsMessage
	fieldFamily     = 2
	fieldNode       = 1 // of its Identifier
	fieldNodeID     = 1 // of config.core.v3.Node
)

// Node is the id of the node that the message names; empty where it names none, as all but the first of a stream, and what is no such message.
func (m *Message) Node() string {
	b := m.Bytes()
	for _, field := range []protowire.Number{fieldIdentifier, fieldNode, fieldNodeID} {
		var found []byte
		if err := fieldsOf(b, func(n protowire.Number, v []byte, _ uint64) error {
			if n == field && v != nil {
				found = v // the last counts
			}
			return nil
		}); err != nil {
			return ""
		}
		b = found
	}
	return string(b)
}

// errWire says that bytes are not what they should be.
var errWire = errors.New("not a message of metrics")

// fieldsOf calls each with the fields of a message: bytes for those that have a length, not nil, and the number for the others.
func fieldsOf(b []byte, each func(field protowire.Number, value []byte, number uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errWire, protowire.ParseError(n))
		}
		b = b[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
			if value == nil && n >= 0 {
				value = []byte{}
			}
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errWire, field, protowire.ParseError(n))
		}
		b = b[n:]
		if err := each(field, value, number); err != nil {
			return err
		}
	}
	return nil
}
