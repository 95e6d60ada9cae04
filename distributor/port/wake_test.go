package port_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/port"
)

// woken is a server whose handler says what its receiving has given: the size of a message, or an error.
type woken struct {
	*served
	wakers chan inbox.Waker
	got    chan any
}

func serveWoken(t *testing.T, cfg port.Config) *woken {
	w := &woken{wakers: make(chan inbox.Waker, 10), got: make(chan any, 100_000)}
	cfg.Unknown = func(_ any, stream grpc.ServerStream) error {
		w.wakers <- grpc.ServerTransportStreamFromContext(stream.Context()).(inbox.Waker)
		for {
			m := &testgrpc.StreamingOutputCallRequest{}
			err := stream.RecvMsg(m)
			switch {
			case err == nil:
				w.got <- len(m.GetPayload().GetBody())
			case errors.Is(err, inbox.ErrWoken):
				w.got <- err
			case errors.Is(err, io.EOF):
				return nil
			default:
				return err
			}
		}
	}
	w.served = serve(t, cfg)
	return w
}

func (w *woken) want(t *testing.T, want any) {
	t.Helper()
	if got := await(t, w.got); got != want {
		t.Fatalf("received %v, not %v", got, want)
	}
}

// A receiver that waits is woken, and receives on.
func TestReceiversAreWoken(t *testing.T) {
	w := serveWoken(t, port.Config{})
	c := dial(t, w.address)
	c.begin()
	c.call(1, anyMethod)
	waker := await(t, w.wakers)
	for range 3 { // whether it waits already or not
		waker.Wake()
		w.want(t, inbox.ErrWoken)
		c.message(1, false, duplex([]byte("ab")))
		w.want(t, 2)
	}
	c.call(3, anyMethod) // whose receiver does not read: the other does
	second := await(t, w.wakers)
	c.message(3, false, duplex([]byte("abc")))
	w.want(t, 3)
	second.Wake()
	w.want(t, inbox.ErrWoken)
	waker.Wake()
	w.want(t, inbox.ErrWoken)
	c.message(3, false, duplex([]byte("abc")))
	w.want(t, 3)
	c.message(1, false, duplex([]byte("a")))
	w.want(t, 1)
}

// One that is woken within a message goes on with it.
func TestReceiversAreWokenWithinMessages(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "large": 300_000} {
		t.Run(name, func(t *testing.T) {
			// The large one is taken in two pieces, and is within the window, of which this client takes no heed, whoever reads meanwhile.
			w := serveWoken(t, port.Config{Window: 400_000})
			c := dial(t, w.address)
			c.begin()
			c.call(1, anyMethod)
			waker := await(t, w.wakers)
			raw, err := proto.Marshal(duplex(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			raw = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(raw))), raw...)
			for len(raw) > 0 {
				part := raw[:min(len(raw), len(raw)/2+1, 10_000)]
				raw = raw[len(part):]
				c.write(func() error { return c.framer.WriteData(1, false, part) })
				if len(raw) > 0 {
					waker.Wake()
					w.want(t, inbox.ErrWoken)
				}
			}
			w.want(t, size)
		})
	}
}

// One that is woken within a frame reads it to its end.
func TestReceiversAreWokenWithinFrames(t *testing.T) {
	w := serveWoken(t, port.Config{})
	c := dial(t, w.address)
	c.begin()
	c.call(1, anyMethod)
	waker := await(t, w.wakers)
	raw, err := proto.Marshal(duplex([]byte("abc")))
	if err != nil {
		t.Fatal(err)
	}
	raw = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(raw))), raw...)
	frame := append([]byte{0, 0, byte(len(raw)), byte(http2.FrameData), 0, 0, 0, 0, 1}, raw...)
	for i := range 20 * len(frame) {
		at := i % len(frame)
		c.write(func() error { _, err := c.Conn.Write(frame[:at]); return err })
		if i%2 == 0 {
			time.Sleep(time.Millisecond) // mostly it has been read by then; where not, that is another case
		}
		waker.Wake()
		c.write(func() error { _, err := c.Conn.Write(frame[at:]); return err })
		w.want(t, inbox.ErrWoken)
		w.want(t, 3)
	}
}

// However often a receiver is woken, and whenever, it receives every message whole. Over TLS, too, whose reading is ended in the midst of a record.
func TestWakesLoseNothing(t *testing.T) {
	server, client := certify(t)
	server.NextProtos, client.NextProtos = []string{port.ALPN}, []string{port.ALPN}
	for name, cfg := range map[string]port.Config{"plain": {}, "TLS": {Credentials: port.TLS(server)}} {
		t.Run(name, func(t *testing.T) {
			w := serveWoken(t, cfg)
			c := dial(t, w.address)
			if cfg.Credentials != nil {
				c.secure(client)
			}
			c.begin()
			c.call(1, anyMethod)
			c.call(3, anyMethod)
			wakers := []inbox.Waker{await(t, w.wakers), await(t, w.wakers)}
			var over atomic.Bool
			var waking sync.WaitGroup
			for _, waker := range wakers {
				waking.Go(func() {
					for !over.Load() {
						waker.Wake()
					}
				})
			}
			const many = 500
			go func() {
				for i := range many {
					c.message(uint32(1+2*(i%2)), false, duplex(make([]byte, i)))
				}
			}()
			sum, count := 0, 0
			for count < many {
				if n, is := await(t, w.got).(int); is {
					sum += n
					count++
				}
			}
			over.Store(true)
			waking.Wait()
			if want := many * (many - 1) / 2; sum != want {
				t.Errorf("%d bytes of %d", sum, want)
			}
		})
	}
}

// secure shakes hands.
func (c *raw) secure(cfg *tls.Config) {
	secured := tls.Client(c.Conn, cfg)
	c.Conn = secured
	c.framer = http2.NewFramer(secured, secured)
}
