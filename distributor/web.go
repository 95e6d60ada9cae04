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
	// permissions are asked about each request; nil: they allow everything.
	permissions *permissions
	// certificate: clients show one, except for health. Where there are permissions, they ask for whatever proves who a client is.
	certificate bool
	// throttle bounds what one client may ask; nil: nothing does.
	throttle *throttle
}

// route is a pattern of http.ServeMux, and what serves it. Each has a row in the table of package access.
type route struct {
	pattern string
	handler http.Handler
}

// routes are all but those for health.
func (w web) routes() []route {
	return []route{
		{"/v1/", w.rest},
		{"/openapi.json", http.HandlerFunc(api.ServeOpenAPI)},
		{apiPrefix, w.v2()},
		{evidencePrefix, w.evidence},
		{"/metrics", promhttp.HandlerFor(withStore(w.metrics), promhttp.HandlerOpts{Registry: w.metrics})},
		{"/{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "waft: /v1/ REST, /openapi.json, /v2/ registry, /metrics, /healthz, /readyz")
		})},
	}
}

// forReplicas is what another replica has this one answer in its place.
func (w web) forReplicas() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(apiPrefix, w.v2())
	mux.Handle(evidencePrefix, w.evidence)
	return mux
}

func (w web) handler() http.Handler {
	closed := http.NewServeMux()
	for _, r := range w.routes() {
		closed.Handle(r.pattern, w.permissions.route(r.pattern, w.throttle.counted(r.handler)))
	}

	open := http.NewServeMux()
	open.Handle("/", w.throttle.door(w.needCertificate(closed)))
	open.HandleFunc("/healthz", answer(w.alive))
	open.HandleFunc("/readyz", answer(w.ready))
	return open
}

// v2 is the registry's API: the repositories that are pushed here, and read-only what was fetched from elsewhere.
func (w web) v2() http.Handler {
	pushed := http.MaxBytesHandler(w.registry, maxUploadBytes) // for who does not say how much it is
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if readOnly(r.URL.Path) {
			w.modules.ServeHTTP(rw, r)
			return
		}
		if r.ContentLength > maxUploadBytes {
			ociError(rw, http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("%d bytes are more than the %d that one request may have", r.ContentLength, maxUploadBytes))
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
			ociError(rw, http.StatusUnauthorized, "UNAUTHORIZED", needed) // in the words of a registry, so that its clients show them
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
func await(ctx context.Context, ready func() error) error { return awaitEvery(ctx, readyPause, ready) }

func awaitEvery(ctx context.Context, every time.Duration, ready func() error) error {
	t := time.NewTicker(every)
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
