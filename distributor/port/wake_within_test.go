package port_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/port"
)

// A stream that its handler ends (displaced, stopping, an error of news) ends although its client has sent a part of a frame and stays silent: after a
// while, the connection with it.
func TestAStreamEndsWithinAFrame(t *testing.T) {
	for name, part := range map[string][]byte{"within no frame": nil, "within a frame": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			var crew inbox.Crew
			boxes, returned := make(chan *inbox.Inbox[*testgrpc.StreamingOutputCallRequest], 1), make(chan struct{})
			cfg := port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
				defer close(returned)
				in := inbox.New(stream.Context(), &crew, func() (*testgrpc.StreamingOutputCallRequest, error) {
					m := &testgrpc.StreamingOutputCallRequest{}
					return m, stream.RecvMsg(m)
				}, inbox.Handler[*testgrpc.StreamingOutputCallRequest]{
					Request: func(*testgrpc.StreamingOutputCallRequest) error { return nil },
					News:    func() error { return status.Error(codes.Aborted, "another stream has taken its place") },
				})
				boxes <- in
				if err := in.Run(); !errors.Is(err, nil) {
					return err
				}
				return nil
			}}
			s := serve(t, cfg)
			c := dial(t, s.address)
			c.begin()
			c.call(1, anyMethod)
			in := await(t, boxes)
			c.message(1, false, duplex([]byte("a")))
			if part != nil {
				c.write(func() error { _, err := c.Conn.Write(part); return err })
			}
			time.Sleep(100 * time.Millisecond) // the receiver reads
			in.Wake()
			select {
			case <-returned:
			case <-time.After(time.Minute):
				t.Error("the handler has not returned")
			}
		})
	}
}
