package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Push publishes a module under a tag, in LayoutOCI, with its waft manifest as a referrer, and gives the artifact as the
// registry now has it. A reference without a tag gets DefaultTag; one with a digest is refused, since the digest is what a
// push finds out.
//
// The tag is written after everything else: a push that fails or is interrupted leaves the tag where it was. Blobs that the
// registry has already are not sent again.
func (c *Client) Push(ctx context.Context, ref Reference, m Module, progress Progress) (Artifact, error) {
	const op = "push"
	if ref.Digest != "" {
		return Artifact{}, &Error{Op: op, Subject: ref.String(), Kind: ErrInvalidReference, Detail: "it has a digest, which only a push can tell", Next: "leave out @" + string(ref.Digest)}
	}
	ref = ref.WithDefaults()
	layer, err := describeModule(ctx, ref, m, c.maxModule)
	if err != nil {
		return Artifact{}, err
	}
	if len(m.Manifest) > MaxAttachmentBytes {
		return Artifact{}, tooLarge(op, ref.String()+" (its manifest)", MaxAttachmentBytes, int64(len(m.Manifest)))
	}
	p, err := plan(m, layer)
	if err != nil {
		return Artifact{}, fmt.Errorf("push %s: %w", ref, err)
	}
	repo, err := c.repository(ref)
	if err != nil {
		return Artifact{}, err
	}
	up := &upload{repo: repo, progress: progress, total: p.blobBytes()}
	for _, b := range p.blobs {
		if err := up.blob(ctx, b); err != nil {
			return Artifact{}, c.orasError(ctx, op, ref, err)
		}
	}
	if err := up.manifest(ctx, p.image, ""); err != nil {
		return Artifact{}, c.orasError(ctx, op, ref, err)
	}
	if p.referrer.data != nil {
		if err := up.manifest(ctx, p.referrer, ""); err != nil {
			return Artifact{}, c.orasError(ctx, op, ref, err)
		}
	}
	if err := up.manifest(ctx, p.image, ref.Tag); err != nil {
		return Artifact{}, c.orasError(ctx, op, ref, err)
	}
	return Artifact{
		Reference: ref.AtDigest(p.image.desc.Digest), Digest: p.image.desc.Digest, Layout: LayoutOCI, Module: layer, Layer: layer,
		Annotations: p.annotations, ImageManifest: p.image.data, Manifest: m.Manifest,
	}, nil
}

// describeModule reads the module once, for its digest.
func describeModule(ctx context.Context, ref Reference, m Module, limit int64) (Descriptor, error) {
	const op = "push"
	if m.Size > limit {
		return Descriptor{}, tooLarge(op, ref.String(), limit, m.Size)
	}
	head := make([]byte, min(int64(len(wasmMagic)), max(m.Size, 0)))
	if _, err := io.ReadFull(io.NewSectionReader(m.Content, 0, m.Size), head); err != nil {
		return Descriptor{}, fmt.Errorf("push %s: read the module: %w", ref, err)
	}
	if err := checkMagic(op, ref.String(), head); err != nil {
		return Descriptor{}, err
	}
	v := &verifier{hash: sha256.New()}
	if err := copyTo(ctx, v.hash, io.NewSectionReader(m.Content, 0, m.Size), func(int64) {}); err != nil {
		return Descriptor{}, fmt.Errorf("push %s: read the module: %w", ref, err)
	}
	return Descriptor{MediaType: mediaTypeModuleContent, Digest: v.digest(), Size: m.Size}, nil
}

// upload sends what a plan holds.
type upload struct {
	repo     *remote.Repository
	progress Progress
	done     int64 // bytes of the blobs that are through
	total    int64
}

func (u *upload) blob(ctx context.Context, b blob) error {
	desc := b.desc.oci()
	exists, err := u.repo.Blobs().Exists(ctx, desc)
	if err != nil {
		return err
	}
	if !exists {
		done := u.done
		r := &countingReader{r: b.open(), count: func(n int64) { u.tell(done + n) }}
		err := u.repo.Blobs().Push(ctx, desc, r)
		r.stop()
		if err != nil {
			return err
		}
	}
	u.done += b.desc.Size
	u.tell(u.done)
	return nil
}

func (u *upload) tell(done int64) {
	if u.progress != nil {
		u.progress(done, u.total)
	}
}

// manifest writes a manifest by its digest, or under a tag.
func (u *upload) manifest(ctx context.Context, b blob, tag string) error {
	if tag == "" {
		return u.repo.Manifests().Push(ctx, b.desc.oci(), bytes.NewReader(b.data))
	}
	return u.repo.Manifests().PushReference(ctx, b.desc.oci(), bytes.NewReader(b.data), tag)
}

// countingReader tells how much was read of it. net/http may go on reading a body for a moment after the request has ended,
// so it can be stopped.
type countingReader struct {
	r     io.Reader
	count func(int64)

	mu      sync.Mutex
	n       int64
	stopped bool
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, io.ErrClosedPipe
	}
	n, err := r.r.Read(p)
	if r.n += int64(n); n > 0 {
		r.count(r.n)
	}
	return n, err
}

// stop ends all reading: after it the content may be closed, and nobody is told anything.
func (r *countingReader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

func (d Descriptor) oci() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size}
}
