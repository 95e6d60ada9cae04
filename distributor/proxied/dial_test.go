package proxied_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/proxied"
	"github.com/waft-project/waft/distributor/proxied/proxiedtest"
)

// echo says what it is told.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

func says(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != want+"hello\n" {
		t.Errorf("got %q, %v; want %q", got, err, want+"hello\n")
	}
}

func TestTheEnvironmentsProxyIsAsked(t *testing.T) {
	const distributor = "distributor.invalid:7070"
	here := echo(t)
	p := proxiedtest.Start(t, here)
	dialer := new(net.Dialer)
	asked := 0
	isAsked := func(times int) {
		t.Helper()
		asked += times
		if got, as := p.Asked(); len(got) != asked || asked > 0 && (got[asked-1] != "CONNECT "+distributor || as != "Basic dXNlcjpzZWNyZXQ=") {
			t.Errorf("the proxy was asked for %q as %q, and should have been %d times", got, as, asked)
		}
	}
	t.Setenv("HTTPS_PROXY", "http://user:secret@"+p.Address)
	if !proxied.Named(distributor) || proxied.Named(here) {
		t.Error("a proxy is named for the distributor, and for nothing on this machine")
	}
	conn, err := proxied.Dial(t.Context(), dialer, distributor)
	if err != nil {
		t.Fatal(err)
	}
	says(t, conn, "")
	isAsked(1)
	p.Early("early ")
	if conn, err = proxied.Dial(t.Context(), dialer, distributor); err != nil {
		t.Fatal(err)
	}
	says(t, conn, "early ")
	isAsked(1)

	p.Refuse(http.StatusProxyAuthRequired)
	_, err = proxied.Dial(t.Context(), dialer, distributor)
	if err == nil || !strings.Contains(err.Error(), "407") || !strings.Contains(err.Error(), "user:xxxxx@") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a proxy that refuses: %v", err)
	}
	isAsked(1)

	// Nobody asks a proxy for this machine.
	if conn, err = proxied.Dial(t.Context(), dialer, here); err != nil {
		t.Fatal(err)
	}
	says(t, conn, "")
	isAsked(0)
	// Past the proxy the name is looked up here, and there is no such host.
	t.Setenv("NO_PROXY", ".invalid")
	var none *net.DNSError
	if _, err := proxied.Dial(t.Context(), dialer, distributor); !errors.As(err, &none) || proxied.Named(distributor) {
		t.Errorf("past the proxy: %v", err)
	}
	isAsked(0)
	t.Setenv("NO_PROXY", "")
	t.Setenv("HTTPS_PROXY", "socks5://"+p.Address)
	if _, err := proxied.Dial(t.Context(), dialer, distributor); err == nil || !strings.Contains(err.Error(), "socks5") {
		t.Errorf("a proxy of another kind: %v", err)
	}
	isAsked(0)
	if t.Setenv("HTTPS_PROXY", ""); proxied.Named(distributor) {
		t.Error("a proxy is named by nobody")
	}
}

func TestAProxyThatDoesNotAnswer(t *testing.T) {
	_ = proxiedtest.Start(t, "")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	t.Setenv("HTTPS_PROXY", "http://"+silent.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := silent.Accept()
		if err != nil {
			return
		}
		_, _ = bufio.NewReader(conn).ReadString('\n') // it was asked
		cancel()
		_, _ = io.Copy(io.Discard, conn) // it hears that nobody waits any more
		_ = conn.Close()
	}()
	if _, err := proxied.Dial(ctx, new(net.Dialer), "distributor.invalid:7070"); err == nil {
		t.Error("it connected")
	}
	<-ended
}
