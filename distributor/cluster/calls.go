package cluster

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Calls answers gRPC calls with services that come and go, which a gRPC server cannot: it knows its services before it serves. It is a
// grpc.ServiceRegistrar; once it is used nothing is registered any more, and it may be used concurrently.
type Calls struct {
	methods map[string]func(grpc.ServerStream) error
}

// RegisterService implements grpc.ServiceRegistrar.
func (c *Calls) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	if c.methods == nil {
		c.methods = map[string]func(grpc.ServerStream) error{}
	}
	name := func(method string) string { return fmt.Sprintf("/%s/%s", desc.ServiceName, method) }
	for _, m := range desc.Methods {
		c.methods[name(m.MethodName)] = func(stream grpc.ServerStream) error {
			answer, err := m.Handler(implementation, stream.Context(), stream.RecvMsg, nil)
			if err != nil {
				return err
			}
			return stream.SendMsg(answer)
		}
	}
	for _, s := range desc.Streams {
		c.methods[name(s.StreamName)] = func(stream grpc.ServerStream) error { return s.Handler(implementation, stream) }
	}
}

// Handle answers one call.
func (c *Calls) Handle(method string, stream grpc.ServerStream) error {
	handle := c.methods[method]
	if handle == nil {
		return status.Errorf(codes.Unimplemented, "unknown method %.256s", method)
	}
	return handle(stream)
}
