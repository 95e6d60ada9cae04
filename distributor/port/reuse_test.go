package port_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"

	"github.com/waft-project/waft/distributor/port"
)

// kept is a message whose codec keeps the bytes that it was given, as one does that passes messages on.
type kept struct{ data []byte }

// keeping is a codec of kept, and of protobuf.
type keeping struct{ encoding.CodecV2 }

func (c keeping) Unmarshal(data mem.BufferSlice, v any) error {
	if k, ok := v.(*kept); ok {
		k.data = data[0].ReadOnlyData()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// The memory of a message is used for the next one only where nobody can have kept it.
func TestBytesThatACodecKeepsAreNotWrittenOver(t *testing.T) {
	received := make(chan []byte, 2)
	s := serve(t, port.Config{Codec: keeping{encoding.GetCodecV2("proto")}, Unknown: func(_ any, stream grpc.ServerStream) error {
		var first, second kept
		if err := stream.RecvMsg(&first); err != nil {
			return err
		}
		if err := stream.SendMsg(&testgrpc.SimpleResponse{}); err != nil {
			return err
		}
		if err := stream.RecvMsg(&second); err != nil {
			return err
		}
		received <- first.data
		received <- second.data
		return nil
	}})
	stream, err := s.conn(t).NewStream(bounded(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Other/Call")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(simple("the first")); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&testgrpc.SimpleResponse{}); err != nil { // the second comes when the first has been received
		t.Fatal(err)
	}
	if err := stream.SendMsg(simple("another one")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the first", "another one"} {
		var got testgrpc.SimpleRequest
		if err := encoding.GetCodecV2("proto").Unmarshal(mem.BufferSlice{mem.SliceBuffer(<-received)}, &got); err != nil || string(got.GetPayload().GetBody()) != want {
			t.Errorf("%q (%v) became of %q", got.GetPayload().GetBody(), err, want)
		}
	}
}
