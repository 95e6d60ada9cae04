package registry_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// published is a registry that can fail, with one artifact in it.
func published(t *testing.T) (registrytest.Endpoint, *registrytest.Faulty, registry.Artifact, []byte) {
	t.Helper()
	faulty := registrytest.NewFaulty(registrytest.Start(t).Handler)
	e := registrytest.Serve(t, faulty)
	wasm := registrytest.Wasm(300_000, 1)
	m := registry.ModuleBytes(wasm)
	m.Manifest = []byte(`{"name":"authz"}`)
	a, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/authz:1"), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e, faulty, a, wasm
}

func checkKind(t *testing.T, err, kind error) {
	t.Helper()
	var e *registry.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("want %q, have %v", kind, err)
	}
	if e.Op == "" || e.Subject == "" || e.Next == "" || strings.Contains(e.Error(), "\n") {
		t.Errorf("an error must say on one line what was done, to what, and what to do next: %+v", e)
	}
}

// Each way in which a registry can fail a pull has its error, leaves nothing behind, and is over when the registry is well.
func TestPullFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		part  string
		fault registrytest.Fault
		kind  error
	}{
		{"manifest: 401", "/manifests/", registrytest.Answer(401), registry.ErrUnauthorized},
		{"manifest: 403", "/manifests/", registrytest.Answer(403), registry.ErrUnauthorized},
		{"manifest: 404", "/manifests/", registrytest.Answer(404), registry.ErrNotFound},
		{"manifest: 400", "/manifests/", registrytest.Answer(400), registry.ErrRefused},
		{"manifest: 429", "/manifests/", registrytest.Answer(429), registry.ErrUnavailable},
		{"manifest: 500", "/manifests/", registrytest.Answer(500), registry.ErrUnavailable},
		{"manifest: reset", "/manifests/", registrytest.Reset, registry.ErrUnavailable},
		{"manifest: half", "/manifests/", registrytest.HalfBody, registry.ErrUnavailable},
		{"manifest: wrong bytes", "/manifests/", registrytest.WrongBytes, registry.ErrDigestMismatch},
		{"manifest: short", "/manifests/", registrytest.ShortBody, registry.ErrDigestMismatch},
		{"manifest: endless", "/manifests/", registrytest.Endless, registry.ErrTooLarge},
		{"manifest: stalls", "/manifests/", registrytest.Stall, registry.ErrUnavailable},
		{"manifest: 404 that stalls", "/manifests/", registrytest.StalledAnswer(404), registry.ErrNotFound},
		{"module: 500 that stalls", "/blobs/", registrytest.StalledAnswer(500), registry.ErrUnavailable},
		{"module: 401", "/blobs/", registrytest.Answer(401), registry.ErrUnauthorized},
		{"module: 404", "/blobs/", registrytest.Answer(404), registry.ErrNotFound},
		{"module: 503", "/blobs/", registrytest.Answer(503), registry.ErrUnavailable},
		{"module: reset", "/blobs/", registrytest.Reset, registry.ErrUnavailable},
		{"module: half", "/blobs/", registrytest.HalfBody, registry.ErrUnavailable},
		{"module: wrong bytes", "/blobs/", registrytest.WrongBytes, registry.ErrDigestMismatch},
		{"module: short", "/blobs/", registrytest.ShortBody, registry.ErrSizeMismatch},
		{"module: endless", "/blobs/", registrytest.Endless, registry.ErrSizeMismatch},
		{"module: stalls", "/blobs/", registrytest.Stall, registry.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, faulty, a, wasm := published(t)
			cfg := e.Config(t)
			if strings.Contains(tc.name, "stall") { // on a busy machine any registry may do that for a moment
				cfg.StallTimeout = 50 * time.Millisecond
			}
			c := registrytest.NewClient(t, cfg)
			// The waft manifest is a blob, too: only the module fails here.
			matches := registrytest.Path("GET", tc.part)
			faulty.Break(func(r *http.Request) bool {
				return matches(r) && !strings.HasSuffix(r.URL.Path, string(registry.DigestOf(a.Manifest)))
			}, tc.fault)
			ref := e.Reference(t, "filters/authz:1")
			_, _, err := c.Pull(t.Context(), ref, nil)
			checkKind(t, err, tc.kind)
			assertEmpty(t, cfg.Cache)

			faulty.Mend()
			_, path, err := c.Pull(t.Context(), ref, nil)
			if err != nil {
				t.Fatalf("the registry is well again: %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, wasm) {
				t.Errorf("pulled %d bytes: %v", len(got), err)
			}
		})
	}
}

// assertEmpty checks that a cache holds nothing, not even a temporary file.
func assertEmpty(t *testing.T, c *registry.Cache) {
	t.Helper()
	entries, err := c.List()
	if err != nil || len(entries) != 0 {
		t.Errorf("the cache holds %+v, %v", entries, err)
	}
	files, err := os.ReadDir(c.Dir() + "/tmp")
	if err != nil || len(files) != 0 {
		t.Errorf("temporary files are left: %v, %v", files, err)
	}
}

// A push that fails at any request leaves the tag where it was.
func TestPushFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		matches func(*http.Request) bool
		fault   registrytest.Fault
		kind    error
	}{
		{"looking for a blob: 401", registrytest.Path("HEAD", "/blobs/"), registrytest.Answer(401), registry.ErrUnauthorized},
		{"looking for a blob: 500", registrytest.Path("HEAD", "/blobs/"), registrytest.Answer(500), registry.ErrUnavailable},
		{"starting an upload: 403", registrytest.Path("POST", "/uploads/"), registrytest.Answer(403), registry.ErrUnauthorized},
		{"starting an upload: 404", registrytest.Path("POST", "/uploads/"), registrytest.Answer(404), registry.ErrNotFound},
		{"starting an upload: 503", registrytest.Path("POST", "/uploads/"), registrytest.Answer(503), registry.ErrUnavailable},
		{"starting an upload: 503 that stalls", registrytest.Path("POST", "/uploads/"), registrytest.StalledAnswer(503), registry.ErrUnavailable},
		{"uploading: 413", registrytest.Path("PUT", "/uploads/"), registrytest.Answer(413), registry.ErrRefused},
		{"uploading: reset", registrytest.Path("PUT", "/uploads/"), registrytest.Reset, registry.ErrUnavailable},
		{"manifest: 400", registrytest.Path("PUT", "/manifests/sha256:"), registrytest.Answer(400), registry.ErrRefused},
		{"manifest: 500", registrytest.Path("PUT", "/manifests/sha256:"), registrytest.Answer(500), registry.ErrUnavailable},
		{"the list of referrers: 500", registrytest.Path("PUT", "/manifests/sha256-"), registrytest.Answer(500), registry.ErrUnavailable},
		{"tag: 500", registrytest.Path("PUT", "/manifests/1"), registrytest.Answer(500), registry.ErrUnavailable},
		{"tag: reset", registrytest.Path("PUT", "/manifests/1"), registrytest.Reset, registry.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, faulty, before, _ := published(t)
			ref := e.Reference(t, "filters/authz:1")
			m := registry.ModuleBytes(registrytest.Wasm(300_000, 2))
			m.Manifest = []byte(`{"name":"authz2"}`)
			faulty.Break(tc.matches, tc.fault)
			cfg := e.Config(t)
			if strings.Contains(tc.name, "stall") {
				cfg.StallTimeout = 100 * time.Millisecond
			}
			_, err := registrytest.NewClient(t, cfg).Push(t.Context(), ref, m, nil)
			checkKind(t, err, tc.kind)
			faulty.Mend()
			if now, err := e.Client(t).Resolve(t.Context(), ref); err != nil || now.Digest != before.Digest {
				t.Errorf("the tag moved from %s to %s: %v", before.Digest, now.Digest, err)
			}
			if _, err := e.Client(t).Push(t.Context(), ref, m, nil); err != nil {
				t.Errorf("the registry is well again: %v", err)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	e, faulty, _, _ := published(t)
	cfg := e.Config(t)
	cfg.Retries = 1
	failures := 0
	faulty.Break(registrytest.Path("GET", "/manifests/"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if failures++; failures == 1 {
			registrytest.Answer(503)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "filters/authz:1")); err != nil {
		t.Errorf("one failure and one retry: %v", err)
	}
}

func TestAway(t *testing.T) {
	e := registrytest.Start(t)
	ref := e.Reference(t, "filters/authz:1")
	for name, host := range map[string]string{"nobody listens": "127.0.0.1:1", "no such host": "waft.invalid"} {
		t.Run(name, func(t *testing.T) {
			cfg := e.Config(t)
			cfg.PlainHTTP = []string{host}
			ref.Registry = host
			_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), ref)
			checkKind(t, err, registry.ErrUnavailable)
			_, err = registrytest.NewClient(t, cfg).Push(t.Context(), ref, registry.ModuleBytes(registrytest.Wasm(100, 1)), nil)
			checkKind(t, err, registry.ErrUnavailable)
		})
	}
}

func TestTrust(t *testing.T) {
	t.Run("plain HTTP is not spoken unasked", func(t *testing.T) {
		e := registrytest.Start(t)
		cfg := e.Config(t)
		cfg.PlainHTTP = nil
		_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "a/b:1"))
		checkKind(t, err, registry.ErrUntrusted)
	})
	t.Run("a host without a port stands for all of its ports", func(t *testing.T) {
		e := registrytest.Start(t)
		cfg := e.Config(t)
		cfg.PlainHTTP = []string{"127.0.0.1"}
		_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "a/b:1"))
		checkKind(t, err, registry.ErrNotFound)
	})
	t.Run("an unknown authority", func(t *testing.T) {
		e := registrytest.StartTLS(t)
		cfg := e.Config(t)
		cfg.RootCAs = nil
		_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "a/b:1"))
		checkKind(t, err, registry.ErrUntrusted)
	})
	t.Run("a redirect to plain HTTP elsewhere", func(t *testing.T) {
		other := registrytest.Start(t)
		faulty := registrytest.NewFaulty(other.Handler)
		faulty.Break(nil, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "http://"+other.Host+r.URL.Path, http.StatusTemporaryRedirect)
		})
		e := registrytest.Serve(t, faulty)
		_, err := e.Client(t).Resolve(t.Context(), e.Reference(t, "a/b:1"))
		checkKind(t, err, registry.ErrUntrusted)
	})
}

// The credential goes to the registry that asks for one, and to nobody that it redirects to.
func TestCredentials(t *testing.T) {
	inner := registrytest.Start(t)
	elsewhere := registrytest.NewFaulty(inner.Handler)
	var leaked []string
	elsewhere.Break(nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if a := r.Header.Get("Authorization"); a != "" {
			leaked = append(leaked, a)
		}
		next.ServeHTTP(w, r)
	})
	storage := registrytest.Serve(t, elsewhere)
	front := registrytest.NewFaulty(inner.Handler)
	front.Break(nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, pass, ok := r.BasicAuth(); !ok || user != "alice" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			registrytest.Answer(401)(w, r, next)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "http://"+storage.Host+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
	e := registrytest.Serve(t, front)
	ref := e.Reference(t, "a/b:1")
	m := registry.ModuleBytes(registrytest.Wasm(100_000, 1))

	_, err := e.Client(t).Push(t.Context(), ref, m, nil)
	checkKind(t, err, registry.ErrUnauthorized)
	_, err = e.Client(t).Resolve(t.Context(), ref)
	checkKind(t, err, registry.ErrUnauthorized)

	cfg := e.Config(t)
	cfg.PlainHTTP = append(cfg.PlainHTTP, storage.Host)
	cfg.Credentials = func(_ context.Context, host string) (registry.Credential, error) {
		if host != e.Host {
			return registry.Credential{}, nil
		}
		return registry.Credential{Username: "alice", Password: "secret"}, nil
	}
	c := registrytest.NewClient(t, cfg)
	if _, err := c.Push(t.Context(), ref, m, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Pull(t.Context(), ref, nil); err != nil {
		t.Fatal(err)
	}
	if len(elsewhere.Requests()) == 0 || len(leaked) > 0 {
		t.Errorf("%d requests were redirected, with the credentials %q", len(elsewhere.Requests()), leaked)
	}
}

func TestLimits(t *testing.T) {
	e, _, a, _ := published(t)
	ref := e.Reference(t, "filters/authz:1")
	cfg := e.Config(t)
	cfg.MaxModuleBytes = 1000
	c := registrytest.NewClient(t, cfg)
	_, _, err := c.Pull(t.Context(), ref, nil)
	checkKind(t, err, registry.ErrTooLarge)
	_, err = c.FetchModule(t.Context(), ref, a.Module.Digest, 0)
	checkKind(t, err, registry.ErrTooLarge)
	_, err = c.Push(t.Context(), ref, registry.ModuleBytes(registrytest.Wasm(1001, 1)), nil)
	checkKind(t, err, registry.ErrTooLarge)
	_, err = c.Push(t.Context(), ref, registry.ModuleBytes([]byte("not wasm")), nil)
	checkKind(t, err, registry.ErrInvalidModule)
	_, err = c.Push(t.Context(), ref, registry.ModuleBytes(nil), nil)
	checkKind(t, err, registry.ErrInvalidModule)
	assertEmpty(t, cfg.Cache)
}

// Whoever cancels gets the context's error, and leaves nothing behind.
func TestCancel(t *testing.T) {
	e, faulty, _, _ := published(t)
	cfg := e.Config(t)
	reached := make(chan struct{}, 1)
	faulty.Break(registrytest.Path("GET", "/blobs/"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case reached <- struct{}{}:
		default:
		}
		registrytest.Stall(w, r, next)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := registrytest.NewClient(t, cfg).Pull(ctx, e.Reference(t, "filters/authz:1"), nil)
		done <- err
	}()
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("want the context's error, have %v", err)
	}
}
