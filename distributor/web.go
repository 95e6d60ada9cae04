package distributor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waft-project/waft/distributor/api"
)

// web is what the HTTP port serves.
type web struct {
	rest, registry, modules, evidence http.Handler
	metrics                           *prometheus.Registry
	// alive says why the process is of no use any more, and ready why it does not serve now; nil when it does.
	alive, ready func() error
	// certificate: clients show one, except for health.
	certificate bool
}

func (w web) handler() http.Handler {
	closed := http.NewServeMux()
	closed.Handle("/v1/", w.rest)
	closed.HandleFunc("/openapi.json", api.ServeOpenAPI)
	closed.Handle(apiPrefix, w.v2())
	closed.Handle(evidencePrefix, w.evidence)
	closed.Handle("/metrics", promhttp.HandlerFor(withStore(w.metrics), promhttp.HandlerOpts{Registry: w.metrics}))
	closed.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "waft: /v1/ REST, /openapi.json, /v2/ registry, /metrics, /healthz, /readyz")
	})

	open := http.NewServeMux()
	open.Handle("/", w.needCertificate(closed))
	open.HandleFunc("/healthz", answer(w.alive))
	open.HandleFunc("/readyz", answer(w.ready))
	return open
}

// v2 is the registry's API: the repositories that are pushed here, and read-only what was fetched from elsewhere.
func (w web) v2() http.Handler {
	pushed := http.MaxBytesHandler(w.registry, maxUploadBytes)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if readOnly(r.URL.Path) {
			w.modules.ServeHTTP(rw, r)
			return
		}
		pushed.ServeHTTP(rw, r)
	})
}

// needCertificate refuses requests without a verified certificate. TLS itself asks for none, so that health can be asked
// by anybody.
func (w web) needCertificate(next http.Handler) http.Handler {
	if !w.certificate {
		return next
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			const needed = "a client certificate is needed"
			if !strings.HasPrefix(r.URL.Path, "/v2/") {
				http.Error(rw, needed, http.StatusUnauthorized)
				return
			}
			// In the words of a registry, so that its clients show them.
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"` + needed + `"}]}`))
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// answer says ok, or with 503 why not.
func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// readyPause is how often a start looks whether the service has read its store.
const readyPause = 5 * time.Millisecond

// await waits until ready gives nil.
func await(ctx context.Context, ready func() error) error {
	t := time.NewTicker(readyPause)
	defer t.Stop()
	for ready() != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}
