package distributor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
)

// A node has read a module only if it has closed the connection after the last byte: not if it gave up, was reset, or is still there when this process stops.
func TestModuleThatWasNotReadIsNotToldToBe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how a connection ends is known on Linux")
	}
	content := strings.Repeat("a module", 1<<14) // which two kernels hold
	m, digest := modulesWith(t, content)
	told := make(chan bool, 1)
	var flushed chan struct{}
	m.served = func(_, _ string, read bool) { told <- read }

	for name, test := range map[string]struct {
		want bool
		do   func(t *testing.T, c net.Conn, raw *net.TCPConn, stop func())
	}{
		"reads all of it": {true, func(t *testing.T, c net.Conn, _ *net.TCPConn, _ func()) {
			readSome(t, c, len(content))
			_ = c.Close()
		}},
		"gives up": {false, func(t *testing.T, c net.Conn, _ *net.TCPConn, _ func()) {
			<-flushed // so that the kernel has all of it
			readSome(t, c, 10)
			_ = c.Close()
		}},
		"is reset after it": {false, func(t *testing.T, c net.Conn, raw *net.TCPConn, _ func()) {
			readSome(t, c, len(content))
			_ = raw.SetLinger(0)
			_ = raw.Close()
		}},
		"is there when the distributor stops": {false, func(t *testing.T, c net.Conn, _ *net.TCPConn, stop func()) {
			readSome(t, c, len(content))
			stop()
		}},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				done := make(chan struct{}, 1)
				flushed = done
				background, stop := context.WithCancel(t.Context())
				defer stop()
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					m.ServeHTTP(flushing{w, done}, r)
				}))
				slow := newPatience(time.Minute)
				server.Listener = slow.listener(server.Listener)
				server.Config.ConnContext = withConnection
				server.Config.BaseContext = func(net.Listener) context.Context { return background }
				if secure {
					server.StartTLS()
				} else {
					server.Start()
				}
				defer server.Close()
				var d net.Dialer
				c, err := d.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				raw := c.(*net.TCPConn)
				if secure {
					config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
					config.ServerName = "example.com"
					c = tls.Client(c, config)
				}
				if _, err := fmt.Fprintf(c, "GET /v2/waft/modules/blobs/%s HTTP/1.1\r\nHost: waft\r\n%s: n\r\n\r\n", digest, envoy.NodeHeader); err != nil {
					t.Fatal(err)
				}
				test.do(t, c, raw, stop)
				select {
				case got := <-told:
					if got != test.want {
						t.Errorf("told that it was read: %v", got)
					}
				case <-time.After(closeTimeout / 6):
					t.Error("nobody was told")
				}
			})
		}
	}
}

// flushing says when the kernel has taken what was written.
type flushing struct {
	http.ResponseWriter
	done chan struct{}
}

func (f flushing) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f flushing) FlushError() error {
	err := http.NewResponseController(f.ResponseWriter).Flush()
	select {
	case f.done <- struct{}{}:
	default:
	}
	return err
}

// readSome reads an answer's header and so many bytes of its body, and nothing more.
func readSome(t *testing.T, c net.Conn, body int) {
	t.Helper()
	var header []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(header), "\r\n\r\n"); header = append(header, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := io.CopyN(io.Discard, c, int64(body)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
