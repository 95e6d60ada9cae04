package registry_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// passwordRegistry starts an empty registry that lets in alice with her password alone, and gives what a client needs that takes its
// credentials from a Docker configuration, the folder of which comes with it.
func passwordRegistry(t *testing.T) (cfg registry.Config, ref registry.Reference, dockerConfig string) {
	t.Helper()
	front := registrytest.NewFaulty(registrytest.Start(t).Handler)
	front.Break(nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			registrytest.Answer(401)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	e := registrytest.Serve(t, front)
	dockerConfig = t.TempDir()
	t.Setenv("DOCKER_CONFIG", dockerConfig)
	cfg = e.Config(t)
	cfg.Credentials = nil
	return cfg, e.Reference(t, "a/b:1"), dockerConfig
}

// letIn checks that a client is let in to an empty registry.
func letIn(t *testing.T, cfg registry.Config, ref registry.Reference) {
	t.Helper()
	_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), ref)
	checkKind(t, err, registry.ErrNotFound)
}

// Docker's configuration file is where credentials come from when nothing else is said.
func TestDockerConfig(t *testing.T) {
	cfg, ref, dir := passwordRegistry(t)
	file := filepath.Join(dir, "config.json")
	writeTestFile(t, file, []byte(`{"auths":{"`+ref.Registry+`":{"auth":"YWxpY2U6c2VjcmV0"}}}`))
	letIn(t, cfg, ref)
	writeTestFile(t, file, []byte(`{"auths":{"other.example":{"auth":"YWxpY2U6c2VjcmV0"}}}`))
	_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), ref)
	checkKind(t, err, registry.ErrUnauthorized) // another registry's password is not tried
	writeTestFile(t, file, []byte(`{"auths":`))
	if _, err := registry.NewClient(cfg); err == nil || !strings.Contains(err.Error(), "DOCKER_CONFIG") {
		t.Errorf("a broken file gave %v", err)
	}
}

// A credential helper, which Docker's configuration names for one registry or for all.
func TestCredentialHelper(t *testing.T) {
	cfg, ref, dir := passwordRegistry(t)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	helper := "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get " + ref.Registry + "\" ] || exit 1\necho '{\"ServerURL\":\"'$host'\",\"Username\":\"alice\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-wafttest"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"credHelpers":{"` + ref.Registry + `":"wafttest"}}`, `{"credsStore":"wafttest"}`} {
		writeTestFile(t, filepath.Join(dir, "config.json"), []byte(text))
		letIn(t, cfg, ref)
	}
	writeTestFile(t, filepath.Join(dir, "config.json"), []byte(`{"credsStore":"waftmissing"}`))
	_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), ref)
	if err == nil || !strings.Contains(err.Error(), "waftmissing") {
		t.Errorf("a helper that is not there gave %v", err)
	}
}

// tokenRegistry wants bearer tokens, gives them out itself, and knows those that it gave and that have not ended.
type tokenRegistry struct {
	clock   *registrytest.Clock
	life    time.Duration
	host    string
	given   int
	refused int
	until   time.Time
	grants  []string
}

func (r *tokenRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request, next http.Handler) {
	if req.URL.Path == "/token" {
		if err := req.ParseForm(); err != nil {
			panic(err)
		}
		user, _, _ := req.BasicAuth()
		r.grants = append(r.grants, req.Method+" "+user+req.Form.Get("grant_type")+" "+req.Form.Get("refresh_token"))
		r.given++
		r.until = r.clock.Now().Add(r.life)
		w.Header().Set("Content-Type", "application/json")
		text := `{"token":"t","access_token":"t","expires_in":` + time.Duration(r.life/time.Second).String()
		_, _ = w.Write([]byte(strings.TrimSuffix(text, "ns") + `}`))
		return
	}
	if req.Header.Get("Authorization") != "Bearer t" || !r.clock.Now().Before(r.until) {
		r.refused++
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.host+`/token",service="x"`)
		registrytest.Answer(401)(w, req, next)
		return
	}
	next.ServeHTTP(w, req)
}

// A token that lives shortly is fetched again before it ends: the registry never sees one that has ended.
func TestPain15TokensAreRefreshed(t *testing.T) {
	inner := registrytest.Start(t)
	clock := registrytest.NewClock()
	r := &tokenRegistry{clock: clock, life: 60 * time.Second}
	front := registrytest.NewFaulty(inner.Handler)
	front.Break(nil, r.ServeHTTP)
	e := registrytest.Serve(t, front)
	r.host = e.Host
	cfg := e.Config(t)
	cfg.Clock = clock
	cfg.Credentials = func(context.Context, string) (registry.Credential, error) {
		return registry.Credential{Username: "alice", Password: "secret"}, nil
	}
	c := registrytest.NewClient(t, cfg)
	ask := func() {
		t.Helper()
		_, err := c.Resolve(t.Context(), e.Reference(t, "a/b:1"))
		checkKind(t, err, registry.ErrNotFound) // let in
	}
	ask()
	for _, step := range []struct {
		by    time.Duration
		given int
	}{{40 * time.Second, 1}, {10 * time.Second, 2}, {44 * time.Second, 2}, {2 * time.Second, 3}, {time.Hour, 4}} {
		clock.Advance(step.by)
		ask()
		if r.given != step.given || r.refused != 1 {
			t.Errorf("after %s: %d tokens were given, want %d; %d requests were refused, want the first alone", step.by, r.given, step.given, r.refused)
		}
	}
	if r.grants[0] != "GET alice " {
		t.Errorf("the token was asked for as %q", r.grants[0])
	}
}

// An identity token, as `docker login` stores it, is what access tokens are fetched with.
func TestIdentityToken(t *testing.T) {
	inner := registrytest.Start(t)
	r := &tokenRegistry{clock: registrytest.NewClock(), life: 60 * time.Second}
	front := registrytest.NewFaulty(inner.Handler)
	front.Break(nil, r.ServeHTTP)
	e := registrytest.Serve(t, front)
	r.host = e.Host
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(dir+"/config.json", []byte(`{"auths":{"`+e.Host+`":{"identitytoken":"idt"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := e.Config(t)
	cfg.Credentials, cfg.Clock = nil, r.clock
	_, err := registrytest.NewClient(t, cfg).Resolve(t.Context(), e.Reference(t, "a/b:1"))
	checkKind(t, err, registry.ErrNotFound)
	if len(r.grants) != 1 || r.grants[0] != "POST refresh_token idt" {
		t.Errorf("the token was asked for as %q", r.grants)
	}
}

// A token that ends in the middle of a download: what is still to come is asked for with a new one.
func TestTokenEndsInTheMiddleOfADownload(t *testing.T) {
	inner := registrytest.Start(t)
	wasm := registrytest.Wasm(300_000, 1)
	a, err := inner.Client(t).Push(t.Context(), inner.Reference(t, "filters/authz:1"), registry.ModuleBytes(wasm), nil)
	if err != nil {
		t.Fatal(err)
	}
	clock := registrytest.NewClock()
	var sent atomic.Int64
	cut := cutAfter(100_000, &sent)
	cutting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, string(a.Module.Digest)) {
			inner.Handler.ServeHTTP(w, r)
			return
		}
		defer clock.Advance(2 * time.Minute) // while it was sent
		cut(w, r, inner.Handler)
	})
	r := &tokenRegistry{clock: clock, life: 60 * time.Second}
	front := registrytest.NewFaulty(cutting)
	front.Break(nil, r.ServeHTTP)
	e := registrytest.Serve(t, front)
	r.host = e.Host
	cfg := e.Config(t)
	cfg.Clock, cfg.Retries = clock, 3
	cfg.Random = func() float64 { return 0 }
	cfg.Credentials = func(context.Context, string) (registry.Credential, error) {
		return registry.Credential{Username: "alice", Password: "secret"}, nil
	}
	path, err := registrytest.NewClient(t, cfg).FetchModule(t.Context(), e.Reference(t, "filters/authz"), a.Module.Digest, a.Module.Size)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, wasm)
	if r.given != 3 || r.refused != 1 || sent.Load() != int64(len(wasm)) {
		t.Errorf("%d tokens were given, %d requests refused, %d bytes of %d sent; want a token for each of the three parts and the first request alone refused",
			r.given, r.refused, sent.Load(), len(wasm))
	}
}
