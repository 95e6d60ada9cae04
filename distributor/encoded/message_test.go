package encoded

import (
	"bytes"
	"testing"
	"unsafe"

	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// halves are a message's encoding, in two parts.
func halves(t *testing.T, m proto.Message) (first, second []byte) {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw[: len(raw)/2 : len(raw)/2], raw[len(raw)/2:]
}

// What is sent is the parts, in order, and not copies of them.
func TestPartsAreSentAsTheyAre(t *testing.T) {
	want := wrapperspb.String("shared by ten thousand nodes")
	first, second := halves(t, want)
	m := Of(want.ProtoReflect().Type(), first, nil, second)
	sent, err := Codec{}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 {
		t.Fatalf("%d parts are sent, want 2", len(sent))
	}
	for i, part := range [][]byte{first, second} {
		if have := sent[i].ReadOnlyData(); unsafe.SliceData(have) != unsafe.SliceData(part) || len(have) != len(part) {
			t.Errorf("part %d is a copy, or another: %q", i, have)
		}
	}
	got := &wrapperspb.StringValue{}
	if err := (Codec{}).Unmarshal(sent, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("read %v (%v), want %v", got, err, want)
	}
	if raw := sent.Materialize(); m.Size() != len(raw) {
		t.Errorf("its size is said to be %d, and is %d", m.Size(), len(raw))
	}
}

// A stream with gRPC's own codec sends the same.
func TestOtherCodecsSendTheSame(t *testing.T) {
	want := wrapperspb.String("whole")
	first, second := halves(t, want)
	sent, err := encoding.GetCodecV2("proto").Marshal(Of(want.ProtoReflect().Type(), first, second))
	if err != nil {
		t.Fatal(err)
	}
	if raw := sent.Materialize(); !bytes.Equal(raw, append(bytes.Clone(first), second...)) {
		t.Errorf("sent %q", raw)
	}
}

// Everything else is protobuf.
func TestCodecIsProtobufs(t *testing.T) {
	want, err := structpb.NewStruct(map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := Codec{}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &structpb.Struct{}
	if err := (Codec{}).Unmarshal(sent, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("read %v (%v), want %v", got, err, want)
	}
	if err := (Codec{}).Unmarshal(sent, Of(want.ProtoReflect().Type())); err == nil {
		t.Error("a Message is received")
	}
	if name := (Codec{}).Name(); name != "proto" {
		t.Errorf("its name is %q: the content type would change", name)
	}
}
