package distributor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// Whoever offers chains learns that a node was sent a module: whole, and by a request that says for which node.
func TestModuleThatWasSentIsTold(t *testing.T) {
	cache, err := registry.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Config{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	content := "a module"
	digest := registry.DigestOf([]byte(content))
	if _, _, err := cache.Put(t.Context(), registry.Descriptor{Digest: digest}, 1<<20, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	m, err := openModules(client, t.TempDir(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	m.served = func(node, digest string) { told = append(told, node+" "+digest) }
	ask := func(method string, header map[string]string) {
		r := httptest.NewRequestWithContext(t.Context(), method, "/v2/waft/modules/blobs/"+string(digest), nil)
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code >= http.StatusBadRequest {
			t.Fatalf("%s %v: %d %s", method, header, w.Code, w.Body)
		}
	}
	ask(http.MethodGet, nil)
	ask(http.MethodHead, map[string]string{envoy.NodeHeader: "n"})
	ask(http.MethodGet, map[string]string{envoy.NodeHeader: "n", "Range": "bytes=0-3"})
	if told != nil {
		t.Errorf("told of %q", told)
	}
	ask(http.MethodGet, map[string]string{envoy.NodeHeader: "n"})
	if len(told) != 1 || told[0] != "n "+string(digest) {
		t.Errorf("told of %q", told)
	}
}
