package distributor

import (
	"net"

	"golang.org/x/sys/unix"
)

// howItEnds says what the kernel knows of a connection: whether the client has acknowledged all that it was sent, and how the connection ended.
func howItEnds(t *net.TCPConn) (all bool, how end) {
	raw, err := t.SyscallConn()
	if err != nil {
		return false, endedOtherwise
	}
	how = endedOtherwise
	_ = raw.Control(func(fd uintptr) { // else it has been closed here
		// In this order: a connection that still stands after its queue was seen empty was not emptied by a reset.
		left, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		all = err == nil && left == 0
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		switch {
		case err != nil:
		case info.State == unix.BPF_TCP_ESTABLISHED:
			how = notEnded
		case info.State == unix.BPF_TCP_CLOSE_WAIT:
			how = endedByClient
		}
	})
	return all, how
}
