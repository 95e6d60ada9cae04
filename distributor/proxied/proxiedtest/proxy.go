// Package proxiedtest is a proxy for tests, and the environment that names it.
package proxiedtest

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy connects whatever name it is asked for to one address.
type Proxy struct {
	// Address of the proxy.
	Address string
	to      string

	mu            sync.Mutex
	asked         []string
	authorization string
	refuse        int
	early         string
}

// Start starts a proxy that lives as long as the test, and clears what the environment says of proxies: the test says what it is to say.
func Start(t testing.TB, to string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), to: to}
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // Close ends it
	t.Cleanup(func() { _ = server.Close() })
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	return p
}

// Refuse has the proxy answer with a status instead of connecting.
func (p *Proxy) Refuse(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = status
}

// Early has the proxy send the other end's first bytes in one piece with its answer.
func (p *Proxy) Early(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.early = text
}

// Asked is what the proxy was asked for so far: the method and the target; and with which credentials it was last.
func (p *Proxy) Asked() (requests []string, authorization string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked), p.authorization
}

// ServeHTTP connects.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.authorization = r.Header.Get("Proxy-Authorization")
	refuse, early := p.refuse, p.early
	p.mu.Unlock()
	if refuse != 0 {
		w.WriteHeader(refuse)
		return
	}
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"+early)
	go func() {
		_, _ = io.Copy(there, here)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
}
