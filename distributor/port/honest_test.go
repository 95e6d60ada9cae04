package port_test

import (
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/port"
)

// What honest clients do, and what was taken amiss.

// more is more frames than a budget has, and than is given back while they are sent.
const more = 5000

const anyMethod = "/any/Thing"

// A client that measures its way pings once for each time that it is sent something, and may.
func TestPingsOfAClientThatIsSentSomething(t *testing.T) {
	s := serve(t, port.Config{MinPing: time.Hour})
	c := dial(t, s.address)
	c.begin()
	c.open(1 << 30)
	c.call(1, "/grpc.testing.TestService/FullDuplexCall")
	for range more {
		c.message(1, false, duplex(nil))
		c.expect("an answer", func(f frame) bool { return f.is("DATA") })
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		c.expect("an answer to a ping", func(f frame) bool { return f.is("PING") && f.Flags.Has(http2.FlagPingAck) })
	}
}

// What is on its way to a call that the server has ended is nobody's fault.
func TestDataForACallThatHasEnded(t *testing.T) {
	s := serve(t, port.Config{Unknown: func(any, grpc.ServerStream) error { return status.Error(codes.ResourceExhausted, "no") }})
	t.Run("by the server", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.call(1, anyMethod)
		c.expect("the end", func(f frame) bool { return f.is("RST_STREAM") && f.code == http2.ErrCodeNo })
		for range more {
			c.message(1, false, duplex([]byte("0123456789")))
		}
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		c.expect("an answer to a ping, and no other reset", func(f frame) bool {
			if f.is("RST_STREAM") || f.is("GOAWAY") {
				t.Fatalf("%v %s %s", f.FrameHeader, f.code, f.text)
			}
			return f.is("PING")
		})
	})
	t.Run("by the client", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.headers(1, calling(anyMethod), true)
		c.expect("the end", func(f frame) bool { return f.is("HEADERS") && f.Flags.Has(http2.FlagHeadersEndStream) })
		c.message(1, false, duplex(nil))
		c.expect("a reset", func(f frame) bool { return f.is("RST_STREAM") && f.code == http2.ErrCodeStreamClosed })
	})
	t.Run("empty, for ever", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.call(1, anyMethod)
		c.expect("the end", func(f frame) bool { return f.is("RST_STREAM") })
		go func() {
			for range 4 * more {
				c.write(func() error { return c.framer.WriteData(1, false, nil) })
			}
		}()
		c.expect("a farewell", func(f frame) bool { return f.is("GOAWAY") && f.code == http2.ErrCodeEnhanceYourCalm })
	})
}
