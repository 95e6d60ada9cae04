package registry_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// The proxy that is configured is what requests go through.
func TestProxy(t *testing.T) {
	e := registrytest.Start(t)
	var seen []string
	proxy := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Host) // a proxy is asked for an absolute URL
		e.Handler.ServeHTTP(w, r)
	}))
	cfg := e.Config(t)
	cfg.PlainHTTP = []string{"registry.waft.invalid"}
	cfg.Proxy = "http://" + proxy.Host
	ref := e.Reference(t, "a/b:1")
	ref.Registry = "registry.waft.invalid"
	_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), ref)
	checkKind(t, err, registry.ErrNotFound)
	if len(seen) != 1 || seen[0] != "registry.waft.invalid" {
		t.Errorf("the proxy was asked for %q", seen)
	}
	cfg.Proxy = "::"
	if _, err := registry.NewClient(cfg); err == nil {
		t.Error("a proxy that is no URL was taken")
	}
}

// tunnel is a proxy that makes tunnels (CONNECT), all of them to one address, and keeps what it was asked for.
type tunnel struct {
	to string

	mu    sync.Mutex
	asked []string
}

func (p *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(there, here); close(ended) }() // ends with either of them
	_, _ = io.Copy(here, there)
	_ = here.Close()
	<-ended
}

// A registry with TLS by a private authority is reached through a proxy by a tunnel, in which the proxy reads nothing.
func TestProxyToTLS(t *testing.T) {
	e := registrytest.StartTLS(t)
	wasm := registrytest.Wasm(300_000, 1)
	if _, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/authz:1"), registry.ModuleBytes(wasm), nil); err != nil {
		t.Fatal(err)
	}
	p := &tunnel{to: e.Host}
	proxy := httptest.NewServer(p)
	defer proxy.Close()
	cfg := e.Config(t)
	cfg.Proxy = proxy.URL
	_, path, err := registrytest.NewClient(t, cfg).Pull(t.Context(), e.Reference(t, "filters/authz:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, wasm)
	p.mu.Lock()
	if len(p.asked) == 0 || slices.ContainsFunc(p.asked, func(asked string) bool { return asked != "CONNECT "+e.Host }) {
		t.Errorf("the proxy was asked %q", p.asked)
	}
	p.mu.Unlock()
	cfg = e.Config(t)
	cfg.Proxy, cfg.RootCAs = proxy.URL, x509.NewCertPool()
	_, err = registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "filters/authz:1"))
	checkKind(t, err, registry.ErrUntrusted) // the tunnel makes nobody trusted
}

// The environment's proxies are taken where none is configured, and not for hosts in NO_PROXY. The environment is read once in a
// process, so another one asks.
func TestProxyOfTheEnvironment(t *testing.T) {
	plain, secret := registrytest.Start(t), registrytest.StartTLS(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	roots := secret.Certificate.Raw
	writeTestFile(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: roots}))
	var mu sync.Mutex
	var seen []string
	forward := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.URL.Host)
		mu.Unlock()
		plain.Handler.ServeHTTP(w, r)
	}))
	tls := &tunnel{to: secret.Host}
	forTLS := httptest.NewServer(tls)
	defer forTLS.Close()
	for _, tc := range []struct {
		name, host, noProxy string
		plain, tunnelled    int
		says                string
	}{
		{"plain", "registry.waft.invalid:80", "", 1, 0, "not found"},
		{"TLS", "example.com:443", "", 0, 1, "not found"}, // the name in the certificate of httptest
		{"not this host", "registry.waft.invalid:80", "waft.invalid", 0, 0, "unavailable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mu.Lock()
			tls.mu.Lock()
			seen, tls.asked = nil, nil
			tls.mu.Unlock()
			mu.Unlock()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envRole+"=asks", envDir+"="+tc.host+"/a/b:1", "SSL_CERT_FILE="+ca, "DOCKER_CONFIG="+t.TempDir(),
				"HTTP_PROXY=http://"+forward.Host, "HTTPS_PROXY="+forTLS.URL, "NO_PROXY="+tc.noProxy, "http_proxy=", "https_proxy=", "no_proxy=")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tc.says) {
				t.Errorf("%v: %s, want %s", err, out, tc.says)
			}
			mu.Lock()
			defer mu.Unlock()
			tls.mu.Lock()
			defer tls.mu.Unlock()
			if len(seen) != tc.plain || len(tls.asked) != tc.tunnelled {
				t.Errorf("the proxies were asked for %q and %q", seen, tls.asked)
			}
		})
	}
}
