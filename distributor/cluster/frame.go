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
type Codec struct{}

// protobuf is gRPC's codec for messages.
func protobuf() encoding.CodecV2 { return encoding.GetCodecV2("proto") }

// Marshal implements encoding.CodecV2. A Frame can be sent once: gRPC frees what it has sent.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*Frame); ok {
		data := f.data
		f.data = nil
		return data, nil
	}
	return protobuf().Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*Frame); ok {
		data.Ref()
		f.data = data
		return nil
	}
	return protobuf().Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }
