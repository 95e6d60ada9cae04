package cluster

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// FuzzFrame passes whatever a client sends on: as it came, in however many pieces, and once. Read as a message it is an error or the same message.
func FuzzFrame(f *testing.F) {
	whole, err := proto.Marshal(structpb.NewStringValue("a message"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint(3))
	f.Add([]byte{}, uint(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}, uint(1))
	f.Fuzz(func(t *testing.T, raw []byte, cut uint) {
		at := int(cut % uint(len(raw)+1))
		came := mem.BufferSlice{mem.SliceBuffer(bytes.Clone(raw[:at])), mem.SliceBuffer(bytes.Clone(raw[at:]))}
		var frame Frame
		if err := (Codec{}).Unmarshal(came, &frame); err != nil {
			t.Fatal(err)
		}
		sent, err := (Codec{}).Marshal(&frame)
		if err != nil || !bytes.Equal(sent.Materialize(), raw) {
			t.Errorf("%q is passed on as %q (%v)", raw, sent.Materialize(), err)
		}
		if again, err := (Codec{}).Marshal(&frame); err != nil || again.Len() != 0 {
			t.Errorf("it can be sent twice: %q (%v)", again.Materialize(), err)
		}
		var message, same structpb.Value
		byGRPC, byUs := proto.Unmarshal(raw, &message), (Codec{}).Unmarshal(came, &same)
		if (byGRPC == nil) != (byUs == nil) || byUs == nil && !proto.Equal(&message, &same) {
			t.Errorf("%q is %v (%v), and %v (%v)", raw, &same, byUs, &message, byGRPC)
		}
	})
}
