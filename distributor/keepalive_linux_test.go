package distributor

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client whose machine is gone is found in the time that is promised, whether the connection is silent or something is on its way. Its machine is the filter
// that drops, before TCP sees it, whatever comes for its socket: nothing is acknowledged, and nothing is reset.
func TestADeadClientIsFound(t *testing.T) {
	soon := keepalive{silent: time.Second, again: time.Second, within: 2 * time.Second}
	for name, send := range map[string]bool{"silent": false, "sent something": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatience(time.Minute)
			p.keepalive = soon
			client, server := bothEnds(t, p.listener)
			unplug(t, client.(*net.TCPConn))
			begun := time.Now()
			if send {
				if _, err := server.Write([]byte("is somebody there?")); err != nil {
					t.Fatal(err)
				}
			}
			const late = 15 * time.Second
			if err := server.SetReadDeadline(begun.Add(late)); err != nil {
				t.Fatal(err)
			}
			_, err := server.Read(make([]byte, 1))
			if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("after %s, want the connection to time out: %v", time.Since(begun).Round(time.Millisecond), err)
			}
			if !errors.Is(err, unix.ETIMEDOUT) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// unplug has the kernel drop what comes for a socket.
func unplug(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // of each packet, no byte is let through
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	}); err != nil {
		t.Fatal(err)
	}
	if set != nil {
		t.Fatal(set)
	}
}

// What the ports promise is what their sockets have.
func TestPortsAskByTCP(t *testing.T) {
	_, c := bothEnds(t, newPatience(DefaultPatience).listener)
	raw, err := c.(*patientConn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.TCP_KEEPIDLE: 20, unix.TCP_KEEPINTVL: 5, unix.TCP_USER_TIMEOUT: 30_000} {
			if have, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil || have != want {
				t.Errorf("TCP's option %d is %d (%v), want %d", option, have, err, want)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
