package distributor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// Whoever offers chains learns that a node has a module: all of it, when the node has read it, and by a request that says for which node.
func TestModuleThatWasReadIsTold(t *testing.T) {
	// The kernel takes all of it, so that only the node's closing says that it was read.
	content := strings.Repeat("a module", 1000)
	m, digest := modulesWith(t, content)
	told, answered := make(chan string, 8), make(chan struct{}, 8)
	m.served = func(node, digest string, read bool) { told <- fmt.Sprint(node, " ", digest, " ", read) }
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("By") != "" {
			r = r.WithContext(context.WithValue(r.Context(), relayedRequest{}, true))
		}
		m.ServeHTTP(w, r)
		answered <- struct{}{}
	}))
	server.Config.ConnContext = withConnection
	server.Start()
	defer server.Close()
	ask := func(method string, header map[string]string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/v2/waft/modules/blobs/"+string(digest), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			r.Header.Set(k, v)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		if answer.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s %v: %s", method, header, answer.Status)
		}
		return answer
	}
	for _, other := range []*http.Response{
		ask(http.MethodGet, nil),
		ask(http.MethodHead, map[string]string{envoy.NodeHeader: "n"}),
		ask(http.MethodGet, map[string]string{envoy.NodeHeader: "n", "Range": "bytes=0-3"}),
	} {
		_, _ = io.Copy(io.Discard, other.Body) // what it holds is others' to test
		<-answered
	}
	if len(told) > 0 {
		t.Errorf("told of %q", <-told)
	}

	whole := ask(http.MethodGet, map[string]string{envoy.NodeHeader: "n"})
	if !whole.Close {
		t.Error("the node is not asked to close the connection")
	}
	if read, err := io.ReadAll(io.LimitReader(whole.Body, int64(len(content)-1))); err != nil || len(read) != len(content)-1 {
		t.Fatalf("%d bytes, %v", len(read), err)
	}
	select {
	case got := <-told:
		t.Fatalf("told of %q before all of it was read", got)
	case <-time.After(50 * time.Millisecond): // nothing that could be waited for happens
	}
	if _, err := io.Copy(io.Discard, whole.Body); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-told:
		if got != fmt.Sprint("n ", digest, " ", runtime.GOOS == "linux") { // elsewhere it is not known
			t.Errorf("told of %q", got)
		}
	case <-time.After(closeTimeout / 6):
		t.Error("nobody was told although the node has closed")
	}

	// Another replica closes as soon as it has read all of it, whatever of that the node has.
	if _, err := io.Copy(io.Discard, ask(http.MethodGet, map[string]string{envoy.NodeHeader: "n", "By": "another replica"}).Body); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-told:
		if got != "n "+string(digest)+" false" {
			t.Errorf("told of %q", got)
		}
	case <-time.After(closeTimeout / 6):
		t.Error("nobody was told although another replica has closed")
	}
}

// modulesWith has a module of that content on its disk.
func modulesWith(t *testing.T, content string) (*modules, registry.Digest) {
	t.Helper()
	cache, err := registry.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Config{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	digest := registry.DigestOf([]byte(content))
	if _, _, err := cache.Put(t.Context(), registry.Descriptor{Digest: digest}, 1<<20, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	m, err := openModules(client, t.TempDir(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m, digest
}
