package port

import (
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

// service is what is registered under a name.
type service struct {
	impl     any
	metadata any
	methods  map[string]*method
}

// method is one of it; one of unary and stream is there.
type method struct {
	unary  grpc.MethodHandler
	stream grpc.StreamHandler
	info   *grpc.StreamServerInfo
}

func newService(d *grpc.ServiceDesc, impl any) *service {
	one := &service{impl: impl, metadata: d.Metadata, methods: map[string]*method{}}
	for _, m := range d.Methods {
		one.methods[m.MethodName] = &method{unary: m.Handler}
	}
	for _, m := range d.Streams {
		one.methods[m.StreamName] = &method{stream: m.Handler, info: &grpc.StreamServerInfo{
			FullMethod: "/" + d.ServiceName + "/" + m.StreamName, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams,
		}}
	}
	return one
}

func (s *service) info() grpc.ServiceInfo {
	i := grpc.ServiceInfo{Metadata: s.metadata}
	for name, m := range s.methods {
		one := grpc.MethodInfo{Name: name}
		if m.info != nil {
			one.IsClientStream, one.IsServerStream = m.info.IsClientStream, m.info.IsServerStream
		}
		i.Methods = append(i.Methods, one)
	}
	return i
}

// find is whom a call is for. A nil method has a status that says why there is none.
func (s *Server) find(name string) (*service, *method, *status.Status) {
	rest, ok := strings.CutPrefix(name, "/")
	at := strings.LastIndexByte(rest, '/')
	if !ok || at < 0 {
		return nil, nil, status.Newf(codes.Unimplemented, "malformed method name: %q", name)
	}
	one := s.services[rest[:at]] // which does not change once there are calls
	if one != nil {
		if m := one.methods[rest[at+1:]]; m != nil {
			return one, m, nil
		}
	}
	if s.cfg.Unknown != nil {
		return &service{}, &method{stream: s.cfg.Unknown, info: &grpc.StreamServerInfo{FullMethod: name, IsClientStream: true, IsServerStream: true}}, nil
	}
	if one == nil {
		return nil, nil, status.Newf(codes.Unimplemented, "unknown service %s", rest[:at])
	}
	return nil, nil, status.Newf(codes.Unimplemented, "unknown method %s for service %s", rest[at+1:], rest[:at])
}

// serve answers a call, in a goroutine of its own.
func (s *stream) serve() {
	of, m, unknown := s.conn.server.find(s.method)
	if unknown == nil && s.encoding != "" {
		if s.compressor = encoding.GetCompressor(s.encoding); s.compressor == nil {
			unknown = status.Newf(codes.Unimplemented, "grpc: Decompressor is not installed for grpc-encoding %q", s.encoding)
		}
	}
	var told *status.Status
	switch {
	case unknown != nil:
		told = unknown
	case m.unary != nil:
		told = s.serveUnary(of.impl, m)
	default:
		told = s.serveStream(of.impl, m)
	}
	s.finish(told)
}

// serveUnary gives nil when the answer has been sent, with how the call has ended.
func (s *stream) serveUnary(impl any, m *method) *status.Status {
	reply, err := m.unary(impl, s.ctx, func(req any) error {
		err := s.RecvMsg(req)
		if errors.Is(err, io.EOF) {
			return errNoMessage
		}
		return err
	}, s.conn.server.unary)
	if err != nil {
		return statusOf(err)
	}
	out, err := s.encode(reply)
	if err != nil {
		return statusOf(err)
	}
	defer out.data.Free()
	if err := s.send(&out, statusOf(nil)); err != nil {
		return statusOf(err)
	}
	return nil
}

func (s *stream) serveStream(impl any, m *method) *status.Status {
	s.conn.mu.Lock()
	s.reads = m.info.IsClientStream && s.deadline == nil
	s.conn.mu.Unlock()
	var as grpc.ServerStream = s
	if !m.info.IsClientStream {
		as = &single{stream: s}
	}
	if around := s.conn.server.stream; around != nil {
		return statusOf(around(impl, as, m.info, m.stream))
	}
	return statusOf(m.stream(impl, as))
}

// single is a stream of which the client sends one message.
type single struct {
	*stream
	came bool
}

// RecvMsg is grpc.ServerStream's.
func (s *single) RecvMsg(m any) error {
	err := s.stream.RecvMsg(m)
	if errors.Is(err, io.EOF) && !s.came {
		return errNoMessage
	}
	s.came = true
	return err
}

// Both are what grpc-go's own are.
var (
	_ grpc.ServerTransportStream = (*transport)(nil)
	_ grpc.ServerStream          = (*stream)(nil)
)
