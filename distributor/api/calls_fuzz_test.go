package api

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/service"
)

// call is one method of a server as gRPC calls it: with the bytes that a client sends, as far as they are a request.
type call func(ctx context.Context, raw []byte) error

// calls takes the methods of the services that are registered with it, by their full names.
type calls map[protoreflect.FullName]call

// RegisterService implements grpc.ServiceRegistrar.
func (c calls) RegisterService(desc *grpc.ServiceDesc, impl any) {
	of := protoreflect.FullName(desc.ServiceName)
	for _, m := range desc.Methods {
		c[of.Append(protoreflect.Name(m.MethodName))] = func(ctx context.Context, raw []byte) error {
			out, err := m.Handler(impl, ctx, func(into any) error { return unmarshalled(raw, into) }, nil)
			if err != nil {
				return err
			}
			_, err = proto.Marshal(out.(proto.Message))
			return err
		}
	}
	for _, m := range desc.Streams {
		c[of.Append(protoreflect.Name(m.StreamName))] = func(ctx context.Context, raw []byte) error { return m.Handler(impl, &once{ctx: ctx, raw: raw}) }
	}
}

var errNoRequest = errors.New("the bytes are no request")

func unmarshalled(raw []byte, into any) error {
	if proto.Unmarshal(raw, into.(proto.Message)) != nil {
		return errNoRequest
	}
	return nil
}

// once is a stream of one message.
type once struct {
	grpc.ServerStream
	ctx  context.Context
	raw  []byte
	read bool
}

func (s *once) Context() context.Context     { return s.ctx }
func (s *once) SetHeader(metadata.MD) error  { return nil }
func (s *once) SendHeader(metadata.MD) error { return nil }
func (s *once) SetTrailer(metadata.MD)       {}

func (s *once) RecvMsg(into any) error {
	if s.read {
		return io.EOF
	}
	s.read = true
	return unmarshalled(s.raw, into)
}

func (s *once) SendMsg(m any) error {
	_, err := proto.Marshal(m.(proto.Message))
	return err
}

// full has each field of a message set, and those of the messages in it, so deep.
func full(m protoreflect.Message, text string, number float64, depth int) {
	value := func(d protoreflect.FieldDescriptor, message func() protoreflect.Value) (protoreflect.Value, bool) {
		switch d.Kind() {
		case protoreflect.MessageKind, protoreflect.GroupKind:
			if depth == 0 {
				return protoreflect.Value{}, false
			}
			v := message()
			full(v.Message(), text, number, depth-1)
			return v, true
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(text), true
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes([]byte(text)), true
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(true), true
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number)), true
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(number), true
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(float32(number)), true
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			return protoreflect.ValueOfUint32(uint32(int64(number))), true
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			return protoreflect.ValueOfUint64(uint64(int64(number))), true
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(number)), true
		default:
			return protoreflect.ValueOfInt64(int64(number)), true
		}
	}
	for i := range m.Descriptor().Fields().Len() {
		d := m.Descriptor().Fields().Get(i)
		switch {
		case d.IsMap():
			at := m.Mutable(d).Map()
			key, _ := value(d.MapKey(), nil)
			if v, ok := value(d.MapValue(), at.NewValue); ok {
				at.Set(key.MapKey(), v)
			}
		case d.IsList():
			at := m.Mutable(d).List()
			if v, ok := value(d, at.NewElement); ok {
				at.Append(v)
			}
		default:
			if v, ok := value(d, func() protoreflect.Value { return m.NewField(d) }); ok {
				m.Set(d, v)
			}
		}
	}
}

// FuzzCalls calls each method of each service of the API, as the descriptors have them, with whatever bytes a client may send, while the service behind has not begun: what is
// made of a request before is all that is tried, and the store behind would end the test if it were asked. No answer is one of a fault of ours, and each says what is wrong.
func FuzzCalls(f *testing.F) {
	behind, err := service.New(service.Config{Store: struct{ service.Store }{}, Modules: struct{ service.Modules }{}})
	if err != nil {
		f.Fatal(err)
	}
	backup := func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, "backup")
		return err
	}
	serves := calls{}
	NewServer(f.Context(), behind, "v1", backup).Register(serves)

	// What there is, is said by the descriptors, so that a new method is called without a word here.
	requests := map[protoreflect.FullName]protoreflect.MessageType{}
	protoregistry.GlobalFiles.RangeFilesByPackage(waftv1.File_waft_v1_release_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				if requests[m.FullName()], err = protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName()); err != nil {
					f.Fatal(err)
				}
			}
		}
		return true
	})
	var names []protoreflect.FullName
	for name := range requests {
		if serves[name] == nil {
			f.Errorf("%s is not served", name)
			continue
		}
		names = append(names, name)
	}
	if len(serves) != len(requests) || len(names) == 0 {
		f.Errorf("%d methods are served, and the descriptors have %d", len(serves), len(requests))
	}
	slices.Sort(names)
	const depth = 6
	for i, name := range names {
		f.Add(uint16(i), []byte(nil))
		for _, of := range []struct {
			text   string
			number float64
		}{{"a", 1}, {"../\n" + strings.Repeat("x", 300), -1}, {`{"$secret":"kept/a"}`, math.MaxInt32}} {
			m := requests[name].New()
			full(m, of.text, of.number, depth)
			f.Add(uint16(i), marshalled(f, m.Interface()))
		}
	}
	f.Add(uint16(slices.Index(names, "waft.v1.NodeService.ListNodes")), marshalled(f, &waftv1.ListNodesRequest{Selector: "../"})) // found: the error did not say which field it is about
	f.Fuzz(func(t *testing.T, which uint16, raw []byte) {
		name := names[int(which)%len(names)]
		err := serves[name](t.Context(), raw)
		if errors.Is(err, errNoRequest) {
			return
		}
		switch st := status.Convert(ToStatus(err)); st.Code() {
		case codes.OK, codes.Unavailable: // Unavailable says that the service has not begun: nothing is wrong with the request
		case codes.InvalidArgument:
			refused(t, err)
		default:
			t.Errorf("%s answers %v", name, st)
		}
	})
}
