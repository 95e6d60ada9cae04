package distributor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/distributor/access"
)

// A pod of a control plane that is away is judged as what it is permitted as, and not by its own id, which other bindings may be about.
func TestMayHaveOfAControlPlane(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(`
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: edges, subjects: [{certificate: "spiffe://example.org/node/{node}"}], roles: [node], labels: {env: dev}}
  - {name: istio, subjects: [{certificate: "spiffe://example.org/istiod"}], roles: [node], nodes: [istio.*], labels: {revision: canary}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := access.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p := newPermissions(file, nil)
	const pod = "sidecar~10.0.0.1~istiod-1.istio-system~istio-system.svc.cluster.local"
	for _, c := range []struct {
		node, key, value string
		want             bool
	}{{pod, "revision", "canary", true}, {pod, "revision", "default", false}, {"a~b", "revision", "canary", false}, {"a", "env", "dev", true}, {"a", "env", "prod", false}} {
		if got := p.MayHave(c.node, map[string]string{c.key: c.value}); got != c.want {
			t.Errorf("%s with %s=%s: %v", c.node, c.key, c.value, got)
		}
	}
	if p.Edition() != p.Edition() {
		t.Error("the edition changes without the policy")
	}
}
