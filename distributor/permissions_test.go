package distributor

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
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

// A stream ends with its first message after what its client was proved by has expired, although the policy is the same.
func TestStreamsEndWithTheirProof(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(developmentPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	p := newPermissions(policy, slog.New(slog.DiscardHandler))
	for expires, want := range map[time.Time]error{{}: nil, time.Now().Add(time.Hour): nil, time.Now().Add(-time.Second): model.ErrUnauthenticated} {
		id := access.Identity{Name: "spiffe://waft.localhost/node/a", Certificate: []string{"spiffe://waft.localhost/node/a"}, Expires: expires}
		s := &permittedStream{ctx: withIdentity(t.Context(), id), permissions: p, action: access.Connect, policy: policy.Policy(), node: "a"}
		if err := s.again(""); !errors.Is(err, want) {
			t.Errorf("until %v: %v", expires, err)
		}
	}
}
