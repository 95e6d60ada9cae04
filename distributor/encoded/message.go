package encoded

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of what is no Message
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Message is a message to be sent. It is a proto.Message, too, so that a stream whose codec is another sends the same bytes, by way of a copy. It may be used
// concurrently.
type Message struct {
	kind  protoreflect.MessageType
	parts []mem.SliceBuffer // of the garbage collector: gRPC gives them back to nobody
	// few is where parts are that are not many: one piece of memory for all.
	few [3]mem.SliceBuffer
}

// Of gives the message of a kind whose encoding is the parts, one after the other. They are kept, and must not change any more.
func Of(kind protoreflect.MessageType, parts ...[]byte) *Message {
	m := &Message{kind: kind}
	if len(parts) <= len(m.few) {
		m.parts = m.few[:len(parts)]
	} else {
		m.parts = make([]mem.SliceBuffer, len(parts))
	}
	for i, p := range parts {
		m.parts[i] = p
	}
	return m
}

// Size is how many bytes the message has.
func (m *Message) Size() int {
	size := 0
	for _, p := range m.parts {
		size += len(p)
	}
	return size
}

// ProtoReflect is proto.Message's. It reads the parts, each time; what they hold is the business of who made them, so parts that are no message are a bug,
// and give a message without fields whose unknown ones are the parts.
func (m *Message) ProtoReflect() protoreflect.Message {
	raw := make([]byte, 0, m.Size())
	for _, p := range m.parts {
		raw = append(raw, p...)
	}
	read := m.kind.New()
	if err := proto.Unmarshal(raw, read.Interface()); err != nil {
		read = m.kind.New()
		read.SetUnknown(raw)
	}
	return read
}

// Codec is gRPC's for protobuf, and takes Messages as they are.
type Codec struct{}

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return protobuf().Marshal(v)
	}
	out := make(mem.BufferSlice, 0, len(m.parts))
	for i := range m.parts {
		if len(m.parts[i]) > 0 {
			out = append(out, &m.parts[i])
		}
	}
	return out, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if _, ok := v.(*Message); ok {
		return fmt.Errorf("%T is sent, not received", v)
	}
	return protobuf().Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }

func protobuf() encoding.CodecV2 { return encoding.GetCodecV2("proto") }
