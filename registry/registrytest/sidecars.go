package registrytest

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
)

const sidecarSuffix = "sig"

func mustAppend(t testing.TB, c *registry.Client, a registry.Artifact, l registry.SidecarLayer) {
	t.Helper()
	if err := c.AppendSidecar(t.Context(), a, sidecarSuffix, l); err != nil {
		t.Fatal(err)
	}
}

func mustSidecar(t testing.TB, c *registry.Client, a registry.Artifact) []registry.SidecarLayer {
	t.Helper()
	layers, err := c.Sidecar(t.Context(), a, sidecarSuffix, registry.MaxLayers)
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func testSidecar(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, _ := testModule(5000, 1)
	a := mustPush(t, c, e.Reference(t, "filters/authz:1"), m)
	if got := mustSidecar(t, c, a); got != nil {
		t.Fatalf("layers from nowhere: %+v", got)
	}
	one := registry.SidecarLayer{MediaType: "text/plain", Data: []byte("same"), Annotations: map[string]string{"sig": "1"}}
	other := registry.SidecarLayer{MediaType: "text/plain", Data: []byte("same"), Annotations: map[string]string{"sig": "2"}}
	for _, l := range []registry.SidecarLayer{one, other, one} {
		mustAppend(t, c, a, l)
	}
	got := mustSidecar(t, e.Client(t), a)
	if len(got) != 2 || got[0].Annotations["sig"] != "1" || got[1].Annotations["sig"] != "2" || !bytes.Equal(got[1].Data, one.Data) || got[0].MediaType != one.MediaType {
		t.Errorf("they came back as %+v", got)
	}
	_, err := c.Sidecar(t.Context(), a, sidecarSuffix, 1)
	wantKind(t, err, registry.ErrTooLarge)
	wantKind(t, c.AppendSidecar(t.Context(), a, sidecarSuffix, registry.SidecarLayer{Data: make([]byte, registry.MaxAttachmentBytes+1)}), registry.ErrTooLarge)
	wantKind(t, c.AppendSidecar(t.Context(), a, "a/b", one), registry.ErrInvalidReference)
	// Each is within the limit, and together they are not.
	for i := range 2 {
		mustAppend(t, c, a, registry.SidecarLayer{MediaType: "text/plain", Data: bytes.Repeat([]byte{byte(i)}, registry.MaxAttachmentBytes)})
	}
	_, err = c.Sidecar(t.Context(), a, sidecarSuffix, registry.MaxLayers)
	wantKind(t, err, registry.ErrTooLarge)
}

func testSidecarAtOnce(t *testing.T, e Endpoint) {
	const writers = 4
	m, _ := testModule(5000, 1)
	e, a := competing(t, e, m, "."+sidecarSuffix, writers)
	var wg sync.WaitGroup
	for i := range writers {
		c := e.Client(t)
		wg.Go(func() {
			if err := c.AppendSidecar(t.Context(), a, sidecarSuffix, registry.SidecarLayer{MediaType: "text/plain", Data: fmt.Append(nil, i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := mustSidecar(t, e.Client(t), a); len(got) != writers {
		t.Errorf("%d of %d layers are there", len(got), writers)
	}
}

// A tag that something else stands at is left as it is.
func testSidecarOfOthers(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, _ := testModule(5000, 1)
	a := mustPush(t, c, e.Reference(t, "filters/authz:1"), m)
	repo := orasRepository(t, e, a.Reference)
	index := map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{}}
	ref := e.Reference(t, "filters/authz:sha256-"+a.Digest.Hex()+"."+sidecarSuffix)
	putManifest(t, repo, ref.Tag, "application/vnd.oci.image.index.v1+json", index)
	wantKind(t, c.AppendSidecar(t.Context(), a, sidecarSuffix, registry.SidecarLayer{MediaType: "text/plain", Data: []byte("x")}), registry.ErrInvalidManifest)
	_, err := c.Sidecar(t.Context(), a, sidecarSuffix, 1)
	wantKind(t, err, registry.ErrInvalidManifest)
	_, err = c.Resolve(t.Context(), ref)
	wantKind(t, err, registry.ErrUnsupportedLayout) // the index, as it was
}

// Everything that writes logs in where the registry asks for it, and says so where it cannot.
func testWritesLogIn(t *testing.T, e Endpoint) {
	if e.Handler == nil {
		t.Skip("the endpoint has no handler to put a lock before")
	}
	locked := Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, ok := r.BasicAuth(); !ok || user != "alice" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			Answer(http.StatusUnauthorized)(w, r, nil)
			return
		}
		e.Handler.ServeHTTP(w, r)
	}))
	m, _ := testModule(5000, 1)
	ref := locked.Reference(t, "filters/authz:1")
	_, err := locked.Client(t).Push(t.Context(), ref, m, nil)
	wantKind(t, err, registry.ErrUnauthorized)
	c := NewClient(t, withCredential(locked.Config(t), registry.Credential{Username: "alice", Password: "secret"}))
	a := mustPush(t, c, ref, m)
	mustAttach(t, c, a, registry.Attachment{ArtifactType: reportType, Data: []byte("x")})
	mustAppend(t, c, a, registry.SidecarLayer{MediaType: "text/plain", Data: []byte("x")})
	if got := mustList(t, c, a, ""); len(got) != 2 {
		t.Errorf("attached are %+v", got)
	}
	_, err = locked.Client(t).Attach(t.Context(), a, registry.Attachment{ArtifactType: reportType, Data: []byte("y")})
	wantKind(t, err, registry.ErrUnauthorized)
}
