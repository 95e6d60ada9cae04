package distributor

import (
	"net"
	"time"
)

// keepalive has the operating system find clients whose machine, or whose way to here, is gone without a word. It asks in the kernel, so that ten thousand
// silent nodes cost this process nothing; gRPC's own question, which wakes three goroutines for each, is left what TCP cannot see (api.KeepaliveTime).
type keepalive struct {
	// silent is how long a connection may be silent before the other end is asked, and again how long after that it is asked again.
	silent, again time.Duration
	// within is how long the other end may leave what it was sent without an acknowledgement, a question included.
	within time.Duration
}

// clientKeepalive is that of the ports: a dead client is found half a minute after it was last heard of, or sent something.
var clientKeepalive = keepalive{silent: 20 * time.Second, again: 5 * time.Second, within: 30 * time.Second}

// set sets it for a connection; what is no TCP has none.
func (k keepalive) set(c net.Conn) error {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	// Where the operating system knows no limit for what is unacknowledged, so many questions are what comes nearest to it.
	count := max(1, int((k.within-k.silent)/k.again))
	if err := t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: k.silent, Interval: k.again, Count: count}); err != nil {
		return err
	}
	return setUserTimeout(t, k.within)
}
