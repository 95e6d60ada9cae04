package port_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/port"
)

// late gives connections whose readers take a moment to return from a deadline, as those do that the scheduler lets wait.
type late struct{ net.Listener }

func (l late) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return lateConn{c}, err
}

type lateConn struct{ net.Conn }

func (c lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		time.Sleep(10 * time.Millisecond)
	}
	return n, err
}

// Two streams of one connection are woken one after the other, as when the server stops: one of them reads for both. Each is woken, and the connection goes on.
// The reading of one is not begun again by the other: neither is a wake lost, nor does the connection end with a deadline that nobody asked for any more.
func TestTwoAreWoken(t *testing.T) {
	for name, around := range map[string]func(net.Listener) net.Listener{
		"one processor": func(l net.Listener) net.Listener { return l },
		"late":          func(l net.Listener) net.Listener { return late{l} },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "one processor" {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			wakers, got := make(chan inbox.Waker, 2), make(chan any, 1000)
			s := port.NewServer(port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
				wakers <- grpc.ServerTransportStreamFromContext(stream.Context()).(inbox.Waker)
				for {
					err := stream.RecvMsg(&testgrpc.StreamingOutputCallRequest{})
					got <- err
					if err != nil && !errors.Is(err, inbox.ErrWoken) {
						return err
					}
				}
			}})
			go func() { _ = s.Serve(around(l)) }() // Stop ends it
			t.Cleanup(s.Stop)
			c := dial(t, l.Addr().String())
			c.begin()
			c.call(1, anyMethod)
			c.call(3, anyMethod)
			all := []inbox.Waker{await(t, wakers), await(t, wakers)}
			for i := range 200 {
				for _, id := range []uint32{1, 3} { // so that a receiver reads, and nobody for it
					c.message(id, false, duplex([]byte("ab")))
					if err := await(t, got); err != nil {
						t.Fatalf("round %d: received %v", i, err)
					}
				}
				time.Sleep(2 * time.Millisecond) // both receive
				for _, w := range all {
					w.Wake()
				}
				for n := range 2 {
					select {
					case err := <-got:
						if err != inbox.ErrWoken {
							t.Fatalf("round %d: received %v", i, err)
						}
					case <-time.After(3 * time.Second):
						c.message(1, false, duplex([]byte("ab")))
						c.message(3, false, duplex([]byte("ab")))
						t.Fatalf("round %d: %d of 2 were woken within 3 s; after a frame has come: %v", i, n, await(t, got))
					}
				}
				all[0], all[1] = all[1], all[0]
			}
		})
	}
}
