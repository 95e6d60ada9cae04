package distributor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver of its configuration
	"github.com/sirupsen/logrus"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/registry"
)

// newRegistry is the embedded registry, serving /v2/ from a folder. Nothing can be deleted over its API: a release pins
// digests. What it runs in the background ends with ctx.
//
// distribution logs to logrus's standard logger and leaves no way to give it another, so that one is silenced; requests
// that fail by the registry's fault are logged here.
func newRegistry(ctx context.Context, dir string, log *slog.Logger) (_ http.Handler, err error) {
	logrus.SetOutput(io.Discard)
	var secret [32]byte // signs the state of uploads, which do not outlive this process
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	cfg := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": dir},
			"delete":     configuration.Parameters{"enabled": false},
			"redirect":   configuration.Parameters{"disable": true},
		},
	}
	cfg.HTTP.RelativeURLs = true // it is reached by several names
	cfg.HTTP.Secret = string(secret[:])
	cfg.Catalog.MaxEntries = 1000
	// NewApp panics where its storage cannot be used.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open the registry in %s: %v", dir, p)
		}
	}()
	app := handlers.NewApp(ctx, cfg)
	return logFailures(app, log), nil
}

// logFailures logs answers of 500 and above, with the beginning of their text, which says why.
func logFailures(h http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &failureRecorder{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		if rec.status >= http.StatusInternalServerError {
			log.Error("the registry failed", "method", r.Method, "path", r.URL.Path, "status", rec.status, "answer", rec.body.String())
		}
	})
}

// failureRecorder keeps the status, and the beginning of the body of a failure.
type failureRecorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *failureRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *failureRecorder) Write(p []byte) (int, error) {
	const keep = 1 << 10
	if r.status >= http.StatusInternalServerError && r.body.Len() < keep {
		r.body.Write(p[:min(len(p), keep-r.body.Len())])
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the writer's own abilities.
func (r *failureRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// toSelf sends requests for this distributor's own names to the embedded registry inside the process, where there is
// neither a network nor a certificate to go wrong, and all others on their way.
type toSelf struct {
	// own says whether a host, HOST:PORT, is one of these names.
	own    func(host string) bool
	inside http.RoundTripper
	others http.RoundTripper
}

// RoundTrip is http.RoundTripper's.
func (t *toSelf) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.own(r.URL.Host) {
		return t.others.RoundTrip(r)
	}
	if r.URL.Scheme != "http" {
		r = r.Clone(r.Context())
		r.URL.Scheme = "http" // a name of another replica's, which the client takes to have TLS
	}
	return t.inside.RoundTrip(r)
}

// newClient is the registry client of the distributor, with the cache that it fills. names are this process's; crowd, which may be nil, knows those of
// the others, and asks them for what this one does not have.
func newClient(ctx context.Context, cfg Config, cache *registry.Cache, names []string, embedded http.Handler, crowd *replicas) (*registry.Client, error) {
	others := http.DefaultTransport.(*http.Transport).Clone()
	others.DialContext = (&net.Dialer{Timeout: registry.DialTimeout}).DialContext
	others.TLSHandshakeTimeout = registry.DialTimeout
	others.ResponseHeaderTimeout = registry.HeaderTimeout
	others.DisableCompression = true
	if cfg.RegistryCA != "" {
		authorities, err := certfile.OpenAuthorities(cfg.RegistryCA, cfg.Log)
		if err != nil {
			return nil, err
		}
		others.TLSClientConfig.RootCAs = authorities.Pool() // until the next start: HTTP/2, which registries speak, has one for all connections
	}
	self := &toSelf{inside: serveInside(ctx, embedded), others: others}
	self.own = func(host string) bool { return slices.Contains(names, host) }
	if crowd != nil {
		self.own = func(host string) bool { return slices.Contains(names, host) || crowd.named(host) }
		self.inside = &everywhere{own: self.inside, crowd: crowd}
	}
	return registry.NewClient(registry.Config{
		Cache:     cache,
		PlainHTTP: append(slices.Clone(names), cfg.PlainHTTP...),
		Mirrors:   cfg.Mirrors,
		Transport: self,
		UserAgent: "waft/" + cfg.Version,
	})
}
