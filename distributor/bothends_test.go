package distributor

import (
	"net"
	"testing"
)

// bothEnds are those of a connection by TCP, of which the server's is taken through what is put around its listener. They are closed with the test.
func bothEnds(t *testing.T, around func(net.Listener) net.Listener) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = around(l).Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}
