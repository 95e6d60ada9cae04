package certfile

import (
	"errors"
	"net"
	"time"
)

// judged is a client's side of a connection by TLS, of which a write that fails says what the server has said, if it has.
//
// With TLS 1.3 a server sees a client's certificate when that is done with its handshake. Where it does not take it, it sends an alert and closes; whoever writes
// by then learns that the connection is closed ("broken pipe"), and not why, unless it reads.
type judged struct{ net.Conn }

// verdictWait bounds the reading of an alert, which has come before the connection was closed: it is there, or there is none.
const verdictWait = 100 * time.Millisecond

func (c judged) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return n, err
	}
	if alert := c.alert(); alert != nil {
		return n, alert
	}
	return n, err
}

// alert reads what the server has sent until it fails; nothing of it is of use on a connection that cannot be written to. TLS keeps the error for whoever reads next.
func (c judged) alert() error {
	if c.SetReadDeadline(time.Now().Add(verdictWait)) != nil {
		return nil
	}
	var skipped [512]byte
	for {
		_, err := c.Read(skipped[:])
		if err == nil {
			continue
		}
		// The word for an alert in crypto/tls.
		if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" {
			return err
		}
		return nil
	}
}
