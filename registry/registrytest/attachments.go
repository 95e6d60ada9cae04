package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waft-project/waft/registry"
)

const reportType = "application/vnd.example.report+json"

// mustList lists what is attached, and reads each.
func mustList(t testing.TB, c *registry.Client, a registry.Artifact, artifactType string) []registry.Attachment {
	t.Helper()
	list, err := c.Referrers(t.Context(), a, artifactType)
	if err != nil {
		t.Fatal(err)
	}
	var all []registry.Attachment
	for _, r := range list {
		att, err := c.ReadReferrer(t.Context(), a, r)
		if err != nil {
			t.Fatal(err)
		}
		if att.ArtifactType != r.ArtifactType {
			t.Errorf("listed as %s, and it is a %s", r.ArtifactType, att.ArtifactType)
		}
		all = append(all, att)
	}
	return all
}

func mustAttach(t testing.TB, c *registry.Client, a registry.Artifact, att registry.Attachment) registry.Referrer {
	t.Helper()
	r, err := c.Attach(t.Context(), a, att)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testAttach(t *testing.T, e Endpoint) {
	m, _ := testModule(5000, 1)
	c := e.Client(t)
	a := mustPush(t, c, e.Reference(t, "filters/authz:1"), m)
	if got := mustList(t, c, a, reportType); len(got) != 0 {
		t.Fatalf("a report came from nowhere: %+v", got)
	}
	att := registry.Attachment{ArtifactType: reportType, MediaType: "application/json", Data: []byte(`{"passed":true}`), Annotations: map[string]string{"a": "1"}}
	first := mustAttach(t, c, a, att)
	if again := mustAttach(t, e.Client(t), a, att); again.Descriptor != first.Descriptor {
		t.Errorf("attached twice as %+v and %+v", first, again)
	}
	empty := registry.Attachment{ArtifactType: "application/vnd.example.empty", Annotations: map[string]string{"said": "all"}}
	mustAttach(t, c, a, empty)
	got := mustList(t, e.Client(t), a, reportType)
	if len(got) != 1 || got[0].ArtifactType != att.ArtifactType || got[0].MediaType != att.MediaType || !bytes.Equal(got[0].Data, att.Data) || got[0].Annotations["a"] != "1" {
		t.Errorf("it came back as %+v", got)
	}
	// The manifest that was pushed is one, too, and what another artifact has is not.
	if got := mustList(t, c, a, ""); len(got) != 3 {
		t.Errorf("%d attachments, want 3: %+v", len(got), got)
	}
	m2, _ := testModule(5000, 2)
	if got := mustList(t, c, mustPush(t, c, e.Reference(t, "filters/authz:2"), m2), ""); len(got) != 1 {
		t.Errorf("another artifact has %+v", got)
	}
}

// What oras-go attached is seen by us, and what we attached is seen by oras-go, whoever came first.
func testForeignAttachment(t *testing.T, e Endpoint) {
	m, _ := testModule(5000, 1)
	c := e.Client(t)
	a := mustPush(t, c, e.Reference(t, "filters/authz:1"), m)
	attach(t, e, a, reportType, []byte("theirs, before"), "")
	mustAttach(t, c, a, registry.Attachment{ArtifactType: reportType, Data: []byte("ours")})
	attach(t, e, a, reportType, []byte("theirs, after"), "")
	var texts []string
	for _, att := range mustList(t, c, a, reportType) {
		texts = append(texts, string(att.Data))
	}
	slices.Sort(texts)
	if !slices.Equal(texts, []string{"ours", "theirs, after", "theirs, before"}) {
		t.Errorf("we see %q", texts)
	}
	n := 0
	subject := ocispec.Descriptor{MediaType: a.Descriptor().MediaType, Digest: digest.Digest(a.Digest), Size: a.Descriptor().Size}
	err := orasRepository(t, e, a.Reference).Referrers(t.Context(), subject, reportType, func(page []ocispec.Descriptor) error {
		n += len(page)
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("oras-go sees %d, %v", n, err)
	}
}

// Clients that know nothing of one another attach at the same time, through the tag schema where there is no API.
func testAttachAtOnce(t *testing.T, e Endpoint) {
	const writers = 5
	m, _ := testModule(5000, 1)
	e, a := competing(t, e, m, "", writers)
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		c := e.Client(t)
		wg.Go(func() {
			_, errs[i] = c.Attach(t.Context(), a, registry.Attachment{ArtifactType: reportType, Data: fmt.Appendf(nil, "report %d", i)})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if got := mustList(t, e.Client(t), a, reportType); len(got) != writers {
		t.Errorf("%d of %d attachments are there", len(got), writers)
	}
	// And what was there before is still there.
	if got := mustList(t, e.Client(t), a, ""); len(got) != writers+1 {
		t.Errorf("%d of %d attachments of any type are there", len(got), writers+1)
	}
}

// competing pushes a module, and gives the registry with Rounds before the tag that is made of the artifact's digest and a
// suffix.
func competing(t *testing.T, e Endpoint, m registry.Module, suffix string, writers int) (Endpoint, registry.Artifact) {
	t.Helper()
	if e.Handler == nil {
		t.Skip("the endpoint has no handler to put Rounds before")
	}
	pushed := mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), m)
	e = Serve(t, NewRounds(e.Handler, "sha256-"+pushed.Digest.Hex()+suffix, writers))
	a, err := e.Client(t).Resolve(t.Context(), e.Reference(t, "filters/authz:1"))
	if err != nil {
		t.Fatal(err)
	}
	return e, a
}

func testBadAttachments(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m1, _ := testModule(5000, 1)
	m2, _ := testModule(5000, 2)
	a := mustPush(t, c, e.Reference(t, "filters/authz:1"), m1)
	b := mustPush(t, c, e.Reference(t, "filters/authz:2"), m2)
	t.Run("of another artifact", func(t *testing.T) {
		r := mustAttach(t, c, a, registry.Attachment{ArtifactType: reportType, Data: []byte("x")})
		_, err := c.ReadReferrer(t.Context(), b, r)
		wantKind(t, err, registry.ErrInvalidManifest)
	})
	t.Run("not there", func(t *testing.T) {
		_, err := c.ReadReferrer(t.Context(), a, registry.Referrer{Descriptor: registry.Descriptor{Digest: registry.DigestOf([]byte("absent")), Size: 6}})
		wantKind(t, err, registry.ErrNotFound)
	})
	t.Run("no type", func(t *testing.T) {
		for _, artifactType := range []string{"", "report", "text/plain; charset=utf-8"} {
			_, err := c.Attach(t.Context(), a, registry.Attachment{ArtifactType: artifactType})
			wantKind(t, err, registry.ErrInvalidManifest)
		}
	})
	t.Run("too large", func(t *testing.T) {
		_, err := c.Attach(t.Context(), a, registry.Attachment{ArtifactType: reportType, Data: make([]byte, registry.MaxAttachmentBytes+1)})
		wantKind(t, err, registry.ErrTooLarge)
	})
	t.Run("a size that is not true", func(t *testing.T) {
		data := []byte("one report")
		repo := orasRepository(t, e, a.Reference)
		if err := repo.Blobs().Push(t.Context(), ocispec.Descriptor{MediaType: reportType, Digest: digest.FromBytes(data), Size: int64(len(data))}, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		manifest := ocispec.Manifest{
			MediaType: ocispec.MediaTypeImageManifest, ArtifactType: reportType, Config: ocispec.DescriptorEmptyJSON,
			Layers:  []ocispec.Descriptor{{MediaType: reportType, Digest: digest.FromBytes(data), Size: int64(len(data)) + 1}},
			Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(a.Digest), Size: int64(len(a.ImageManifest))},
		}
		manifest.SchemaVersion = 2
		raw, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		d := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
		if err := repo.Manifests().Push(t.Context(), d, bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		_, err = c.ReadReferrer(t.Context(), a, registry.Referrer{Descriptor: registry.Descriptor{Digest: registry.Digest(d.Digest), Size: d.Size}})
		wantKind(t, err, registry.ErrSizeMismatch)
	})
}
