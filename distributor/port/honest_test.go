package port_test

import (
	"testing"
	"time"

	"golang.org/x/net/http2"

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
