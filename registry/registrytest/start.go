package registrytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver "filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"   // the driver "inmemory"
	"github.com/sirupsen/logrus"

	"github.com/waft-project/waft/registry"
)

// Endpoint is a registry that a test can reach.
type Endpoint struct {
	// Host is HOST:PORT, as it stands in a reference.
	Host string
	// PlainHTTP says that it speaks no TLS.
	PlainHTTP bool
	// RootCAs signed its certificate; nil when it speaks plain HTTP.
	RootCAs *x509.CertPool
	// Certificate is the one of its authority; nil when it speaks plain HTTP.
	Certificate *x509.Certificate
	// Handler serves it, for tests that put something before it.
	Handler http.Handler
}

// Reference is a reference to path ("filters/authz:1.0.0") at the endpoint.
func (e Endpoint) Reference(t testing.TB, path string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseReference(e.Host + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// httpClient is a plain client that trusts the endpoint.
func (e Endpoint) httpClient() *http.Client {
	if e.RootCAs == nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.RootCAs, MinVersion: tls.VersionTLS12}}}
}

// Config is a client's configuration that fits the endpoint: anonymous, without retries, with a cache in a temporary folder.
func (e Endpoint) Config(t testing.TB) registry.Config {
	t.Helper()
	cache, err := registry.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg := registry.Config{
		Cache: cache, RootCAs: e.RootCAs, Retries: -1,
		Credentials: func(context.Context, string) (registry.Credential, error) { return registry.Credential{}, nil },
	}
	if e.PlainHTTP {
		cfg.PlainHTTP = []string{e.Host}
	}
	return cfg
}

// Client is a client made from Config.
func (e Endpoint) Client(t testing.TB) *registry.Client {
	t.Helper()
	return NewClient(t, e.Config(t))
}

// NewClient is registry.NewClient for tests.
func NewClient(t testing.TB, cfg registry.Config) *registry.Client {
	t.Helper()
	c, err := registry.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Start runs a distribution v3 registry that keeps everything in memory, over plain HTTP on a loopback port, until the
// test ends. It has no referrers route: what is attached goes by the tag schema.
func Start(t testing.TB) Endpoint {
	t.Helper()
	return serve(t, newDistribution(t, configuration.Storage{"inmemory": nil}))
}

// StartFilesystem is Start with the registry's data in a folder.
func StartFilesystem(t testing.TB, dir string) Endpoint {
	t.Helper()
	return serve(t, newDistribution(t, configuration.Storage{"filesystem": {"rootdirectory": dir}}))
}

// StartTLS is Start with TLS, by a certificate that Endpoint.RootCAs signed.
func StartTLS(t testing.TB) Endpoint {
	t.Helper()
	handler := newDistribution(t, configuration.Storage{"inmemory": nil})
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return Endpoint{Host: strings.TrimPrefix(server.URL, "https://"), RootCAs: roots, Certificate: server.Certificate(), Handler: handler}
}

// Serve serves any handler as a registry over plain HTTP until the test ends.
func Serve(t testing.TB, handler http.Handler) Endpoint {
	t.Helper()
	return serve(t, handler)
}

func serve(t testing.TB, handler http.Handler) Endpoint {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Endpoint{Host: strings.TrimPrefix(server.URL, "http://"), PlainHTTP: true, Handler: handler}
}

func newDistribution(t testing.TB, storage configuration.Storage) http.Handler {
	t.Helper()
	handler, shutdown := Distribution(storage)
	t.Cleanup(func() {
		if err := shutdown(); err != nil {
			t.Errorf("shut the registry down: %v", err)
		}
	})
	return handler
}

// Distribution is a distribution v3 registry with that storage, for programs that are no tests, and what ends it. It silences the global
// logger that distribution logs every request to.
func Distribution(storage configuration.Storage) (http.Handler, func() error) {
	logrus.SetLevel(logrus.PanicLevel)
	storage["delete"] = configuration.Parameters{"enabled": true}
	storage["maintenance"] = configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}}
	app := handlers.NewApp(context.Background(), &configuration.Configuration{
		Storage: storage,
		Catalog: configuration.Catalog{MaxEntries: 1000},
	})
	return app, app.Shutdown
}

// withCredential is a configuration that logs in everywhere with the same credential.
func withCredential(cfg registry.Config, credential registry.Credential) registry.Config {
	cfg.Credentials = func(context.Context, string) (registry.Credential, error) { return credential, nil }
	return cfg
}
