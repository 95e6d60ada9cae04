package distributor

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waft-project/waft/distributor/access"
)

// Calls with one answer are told from streams, of whatever service.
func TestSingle(t *testing.T) {
	for method, want := range map[string]bool{
		"/waft.v1.ReleaseService/CreateRelease": true, "/waft.v1.ReportService/Report": false, "/waft.v1.RolloutService/WatchRollout": false,
		"/istio.mcp.v1alpha1.ResourceSource/EstablishResourceStream": false, "/no.Service/None": false, "/waft.v1.ReleaseService/None": false, "nonsense": false, "": false,
	} {
		if got := single(method); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
	for method := range access.Methods() {
		if access.OfMethod(method) == access.Connect && single(method) {
			t.Errorf("%s has one answer", method)
		}
		if strings.HasPrefix(method, "/waft.v1.NodeService/") && !single(method) {
			t.Errorf("%s has several answers", method)
		}
	}
}

// A port that is shut takes nobody in, so that who has come tries another address, and takes who comes when it is open again.
func TestDoor(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var shut atomic.Bool
	l := &door{inner, shut.Load}
	defer l.Close()
	taken := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(taken)
				return
			}
			taken <- c
		}
	}()
	come := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	shut.Store(true)
	c := come()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("who is not let in is told something")
	}
	shut.Store(false)
	come()
	c = <-taken
	defer c.Close()
	_ = l.Close()
	if _, more := <-taken; more {
		t.Error("who was not let in is there")
	}
}
