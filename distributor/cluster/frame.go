package cluster

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of what is no Frame
	"google.golang.org/grpc/mem"
)

// Frame is a message of a call that is passed on as it is.
type Frame struct{ data mem.BufferSlice }

// free gives the memory back of a frame that nobody sends any more.
func (f *Frame) free() {
	f.data.Free()
	f.data = nil
}

// Codec takes Frames as they are, and everything else as protobuf.
type Codec struct {
	// Messages takes what is no Frame; it must be protobuf on the wire. Nil: gRPC's own codec for messages.
	Messages encoding.CodecV2
}

func (c Codec) messages() encoding.CodecV2 {
	if c.Messages != nil {
		return c.Messages
	}
	return encoding.GetCodecV2("proto")
}

// Marshal implements encoding.CodecV2. A Frame can be sent once: gRPC frees what it has sent.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*Frame); ok {
		data := f.data
		f.data = nil
		return data, nil
	}
	return c.messages().Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*Frame); ok {
		data.Ref()
		f.data = data
		return nil
	}
	return c.messages().Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }
