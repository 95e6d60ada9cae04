package distributor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/envoy"
)

// Every route of the HTTP port has a row in the table, and everything that the service asks about is an action.
func TestEverythingHasARow(t *testing.T) {
	served := map[string]bool{"/healthz": true, "/readyz": true} // beside the others, see web.handler
	for _, r := range (web{metrics: prometheus.NewRegistry()}).routes() {
		served[r.pattern] = true
		if access.OfRoute(r.pattern) == "" {
			t.Errorf("%s is served and has no row", r.pattern)
		}
	}
	for pattern := range access.Routes() {
		if !served[pattern] {
			t.Errorf("%s has a row and is not served", pattern)
		}
	}
	for _, v := range service.Verbs() {
		if verbs[v] == "" {
			t.Errorf("%s is no action", v)
		}
	}
	if len(verbs) != len(service.Verbs()) {
		t.Errorf("%d verbs are actions, and there are %d", len(verbs), len(service.Verbs()))
	}
	for _, route := range access.RegistryRoutes() {
		if access.OfRegistry(route, "GET") == "" {
			t.Errorf("nobody may read what is at the route %s", route)
		}
	}
}

// ownPermissions are those that waft serve gives itself without TLS files.
func ownPermissions(t *testing.T, log io.Writer) *permissions {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(developmentPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return newPermissions(policy, slog.New(slog.NewTextHandler(log, nil)))
}

// What is refused again and again fills no log, and keeps what is refused to others not out of it.
func TestWarningsAreBounded(t *testing.T) {
	var log strings.Builder
	p := ownPermissions(t, &log)
	warned := func(who string, times int) int {
		t.Helper()
		log.Reset()
		id := access.Identity{Name: who, Certificate: []string{who}}
		for range times {
			if p.decide(id, access.MoveRollout, access.Object{Layer: "global"}, request{call: "x"}) == nil {
				t.Fatal("it is allowed")
			}
		}
		return strings.Count(log.String(), "level=WARN msg=denied")
	}
	if n := warned("cn:mad", 10*warningsAtOnce); n < warningsAtOnce || n > 2*warningsAtOnce {
		t.Errorf("%d refusals are warned of, want about %d", n, warningsAtOnce)
	}
	if n := warned("cn:other", 1); n != 1 {
		t.Errorf("of another one, %d refusals are warned of", n)
	}
}

// A stream ends with its first message after what its client was proved by has expired, although the policy is the same.
func TestStreamsEndWithTheirProof(t *testing.T) {
	p := ownPermissions(t, io.Discard)
	for expires, want := range map[time.Time]error{{}: nil, time.Now().Add(time.Hour): nil, time.Now().Add(-time.Second): model.ErrUnauthenticated} {
		id := access.Identity{Name: "spiffe://waft.localhost/node/a", Certificate: []string{"spiffe://waft.localhost/node/a"}, Expires: expires}
		s := &permittedStream{ctx: withIdentity(t.Context(), id), permissions: p, action: access.Connect, policy: p.file.Policy(), node: "a"}
		if err := s.again("", nil); !errors.Is(err, want) {
			t.Errorf("until %v: %v", expires, err)
		}
	}
}

// Only a node says of itself that it is sent a module: what another says is served, and told to nobody.
func TestNodeHeaderIsTheNodesOwn(t *testing.T) {
	p := ownPermissions(t, io.Discard)
	var said []string
	handler := p.route("/v2/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { said = append(said, r.Header.Get(envoy.NodeHeader)) }))
	certificate := &x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "waft.localhost", Path: "/node/a"}}, NotAfter: time.Now().Add(time.Hour)}
	for _, node := range []string{"a", "b", ""} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/waft/modules/blobs/sha256:00", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}, VerifiedChains: [][]*x509.Certificate{{certificate}}}
		r.Header.Set(envoy.NodeHeader, node)
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", node, w.Code, w.Body)
		}
	}
	if !slices.Equal(said, []string{"a", "", ""}) {
		t.Errorf("the nodes are %q", said)
	}
}

// Who has proved nothing is told so before anything of a request's body is read.
func TestStrangersAreNotRead(t *testing.T) {
	var log strings.Builder
	p := ownPermissions(t, &log)
	handler := p.route("/v1/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger's request came through") }))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/releases", strings.NewReader("{")))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("answered with %d %s", w.Code, w.Body)
	}
	// Nor do they fill the log; and who may not, not with more than a line.
	_ = p.decide(access.Identity{Name: "cn:vera", Certificate: []string{"cn:vera"}}, access.Push, access.Object{Repository: "a"}, request{call: strings.Repeat("a", 60<<10)})
	if lines := strings.Count(log.String(), "\n"); lines != 1 || log.Len() > 4*maxLoggedCall {
		t.Errorf("%d lines of %d bytes", lines, log.Len())
	}
}
