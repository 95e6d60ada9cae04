package cluster

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Calls answers gRPC calls with services that come and go, which a gRPC server cannot: it knows its services before it serves. It is a
// grpc.ServiceRegistrar; once it is used nothing is registered any more, and it may be used concurrently.
type Calls struct {
	// Until ends the calls with one answer that are under way, which may wait for what never comes: for an etcd that this replica does not reach. Nil: they end by
	// themselves. Streams know by themselves when they are over.
	Until   context.Context
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
			ctx, done := c.calling(stream.Context())
			defer done()
			answer, err := m.Handler(implementation, ctx, stream.RecvMsg, nil)
			if err != nil {
				if ctx.Err() != nil && stream.Context().Err() == nil {
					return errUnfinished
				}
				return err
			}
			return stream.SendMsg(answer)
		}
	}
	for _, s := range desc.Streams {
		c.methods[name(s.StreamName)] = func(stream grpc.ServerStream) error { return s.Handler(implementation, stream) }
	}
}

// calling is the context of a call with one answer.
func (c *Calls) calling(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Until == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.Until, cancel)
	return ctx, func() { stop(); cancel() }
}

// errUnfinished is what calls with one answer end with that were under way for too long after a leadership had ended, or whose leader is not reached any more.
var errUnfinished = status.Error(codes.Unavailable, "the replica that carried this out does not lead any more, or is not reached; look whether it was carried out, then try again")

// Handle answers one call.
func (c *Calls) Handle(method string, stream grpc.ServerStream) error {
	handle := c.methods[method]
	if handle == nil {
		return status.Errorf(codes.Unimplemented, "unknown method %.256s", method)
	}
	return handle(stream)
}
