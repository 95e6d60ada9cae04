package distributor

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long what was sent may be unacknowledged, by RFC 5482's option. While something is, TCP does not ask whether the other end is
// there, and would send it again for a quarter of an hour.
func setUserTimeout(t *net.TCPConn, limit time.Duration) error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	}); err != nil {
		return err
	}
	return set
}
