package cluster

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// Strangers who connect and say nothing take no more than their part of the port: of one address, so that replicas at others are heard, and in all. It is for Linux, where all
// of 127.0.0.0/8 is this machine.
func TestSilentStrangersAtThePort(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	a, b := join(t, etcd, "a", nil), join(t, etcd, "b", nil)
	view(t, a, "there are two", func(v View) bool { return len(v.Replicas) == 2 })
	view(t, b, "there are two", func(v View) bool { return len(v.Replicas) == 2 })
	dial := func(from string) net.Conn {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(t.Context(), "tcp", a.Self().Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var ended atomic.Int32
	strangers := func(from string, n int) {
		t.Helper()
		for range n {
			c := dial(from)
			go func() { _, _ = c.Read(make([]byte, 1)); ended.Add(1) }()
		}
	}
	// handshakes are those under way, in all and of the address that has the most.
	handshakes := func() (all, most int) {
		a.listener.mu.Lock()
		defer a.listener.mu.Unlock()
		for _, n := range a.listener.busyOf {
			most = max(most, n)
		}
		return a.listener.busy, most
	}
	until := func(what string, so func(all int) bool) {
		t.Helper()
		for late := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			all, most := handshakes()
			if all > maxHandshakes || most > maxOfHost {
				t.Fatalf("%d handshakes are under way, %d of one address", all, most)
			}
			if so(all) {
				return
			}
			if time.Now().After(late) {
				t.Fatalf("not so: %s; %d handshakes are under way, and %d connections ended", what, all, ended.Load())
			}
		}
	}
	const more = 4
	strangers("127.0.0.2", maxOfHost+more)
	until("as many as one address may are waited for", func(all int) bool { return all == maxOfHost })
	until("the others were sent away", func(int) bool { return ended.Load() >= more })
	replica := tls.Client(dial("127.0.0.3"), b.theirs(a.Self(), protocolHTTP1))
	if err := replica.HandshakeContext(t.Context()); err != nil {
		t.Errorf("a replica at another address: %v", err)
	}
	for i := range maxHandshakes/maxOfHost + 1 {
		strangers(net.IPv4(127, 0, 1, byte(i+1)).String(), maxOfHost)
	}
	until("as many as there may be in all are waited for", func(all int) bool { return all == maxHandshakes })
	// Whoever says nothing for handshakeTimeout goes.
	until("none is left", func(all int) bool { return all == 0 })
}
