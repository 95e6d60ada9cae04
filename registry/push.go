package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote"
)

// Push publishes a module under a tag, in Module.Layout, with its waft manifest as a referrer, and gives the artifact as the
// registry now has it. A reference without a tag gets DefaultTag; one with a digest is refused, since the digest is what a
// push finds out.
//
// The tag is written after everything else: a push that fails or is interrupted leaves the tag where it was. Blobs that the
// registry has already are not sent again.
func (c *Client) Push(ctx context.Context, ref Reference, m Module, progress Progress) (Artifact, error) {
	artifacts, err := c.PushLayouts(ctx, ref, m, []Layout{m.layout()}, progress)
	if err != nil {
		return Artifact{}, err
	}
	return artifacts[0], nil
}

// LayoutTag is the tag at which PushLayouts writes a layout that is not the first of its list: TAG-LAYOUT, such as
// 1.2.0-compat.
func LayoutTag(tag string, l Layout) string { return tag + "-" + string(l) }

// PushLayouts publishes a module in several layouts, since no image is one that all systems read: the first at the
// reference's tag, each further one at LayoutTag. It gives one artifact for each, in the order of the list. What Push says
// holds here, too; the tags are written last, and the reference's own after all others.
//
// The layouts are images of their own and not parts of an index: Istio and Envoy Gateway compare a digest with that of the
// image manifest.
func (c *Client) PushLayouts(ctx context.Context, ref Reference, m Module, layouts []Layout, progress Progress) ([]Artifact, error) {
	const op = "push"
	if ref.Digest != "" {
		return nil, &Error{Op: op, Subject: ref.String(), Kind: ErrInvalidReference, Detail: "it has a digest, which only a push can tell", Next: "leave out @" + string(ref.Digest)}
	}
	if len(layouts) == 0 {
		layouts = []Layout{m.layout()}
	}
	ref = ref.WithDefaults()
	refs, err := layoutReferences(ref, layouts)
	if err != nil {
		return nil, err
	}
	module, err := describeModule(ctx, ref, m, c.maxModule)
	if err != nil {
		return nil, err
	}
	if len(m.Manifest) > MaxAttachmentBytes {
		return nil, tooLarge(op, ref.String()+" (its manifest)", MaxAttachmentBytes, int64(len(m.Manifest)))
	}
	plans := make([]pushPlan, len(layouts))
	up := &upload{progress: progress}
	for i, l := range layouts {
		m.Layout = l
		if plans[i], err = plan(m, module); err != nil {
			return nil, withSubject(fmt.Errorf("push %s: %w", ref, err), op, ref.String())
		}
		if plans[i].layer.Size > c.maxModule {
			return nil, tooLarge(op, ref.String(), c.maxModule, plans[i].layer.Size)
		}
		up.total += plans[i].blobBytes()
	}
	if up.repo, err = c.repository(ref); err != nil {
		return nil, err
	}
	for _, p := range plans {
		if err := c.pushUntagged(ctx, op, ref, up, p); err != nil {
			return nil, err
		}
	}
	artifacts := make([]Artifact, len(plans))
	for i, p := range plans {
		artifacts[i] = Artifact{
			Reference: refs[i].AtDigest(p.image.desc.Digest), Digest: p.image.desc.Digest, Layout: p.layout, Module: module, Layer: p.layer,
			Annotations: p.annotations, ImageManifest: p.image.data, Manifest: m.Manifest,
		}
		if !artifacts[i].Packed() {
			artifacts[i].Module = p.layer
		}
	}
	// All of them first: nothing is signed of a push that comes to nothing.
	if m.PullBack {
		for _, a := range artifacts {
			if _, err := c.PullBack(ctx, a); err != nil {
				return nil, err
			}
		}
	}
	if m.BeforeTag != nil {
		for _, a := range artifacts {
			if err := m.BeforeTag(ctx, a); err != nil {
				return nil, err
			}
		}
	}
	if m.Untagged {
		return artifacts, nil
	}
	for i, p := range slices.Backward(plans) {
		if _, err := c.putManifest(ctx, op, refs[i], refs[i].Tag, p.image); err != nil {
			return nil, err
		}
	}
	return artifacts, nil
}

// layoutReferences are where the layouts go.
func layoutReferences(ref Reference, layouts []Layout) ([]Reference, error) {
	refs := make([]Reference, len(layouts))
	for i, l := range layouts {
		if slices.Contains(layouts[:i], l) {
			return nil, &Error{Op: "push", Subject: ref.String(), Kind: ErrUnsupportedLayout, Detail: "the layout " + quote(string(l)) + " is named twice", Next: "name each layout once"}
		}
		if _, err := ParseLayout(string(l)); err != nil {
			return nil, err
		}
		refs[i] = ref
		if i == 0 {
			continue
		}
		refs[i].Tag = LayoutTag(ref.Tag, l)
		if err := validTag(refs[i].Tag); err != nil {
			return nil, &Error{Op: "push", Subject: ref.String(), Kind: ErrInvalidReference, Detail: err.Error(), Next: "use a shorter tag", Err: err}
		}
	}
	return refs, nil
}

// pushUntagged uploads everything of a plan; no tag names it yet. A registry takes longer to put something small on its disk than to receive
// it, so all that is small goes beside the module, and not after it: one after the other, they would cost more than the module does.
func (c *Client) pushUntagged(ctx context.Context, op string, ref Reference, up *upload, p pushPlan) error {
	missing, err := up.missing(ctx, p.blobs)
	if err != nil {
		return c.orasError(ctx, op, ref, err)
	}
	// Without its module there was no image: who else attaches something to it pushes the same image, which names this manifest, and has
	// attached that before.
	agreed := slices.ContainsFunc(missing, func(b blob) bool { return b.desc.Digest == p.layer.Digest })
	var small, large []blob
	for _, b := range missing {
		if b.content == nil {
			small = append(small, b)
		} else {
			large = append(large, b)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for _, b := range large {
			if err := up.send(gctx, b); err != nil {
				return c.orasError(gctx, op, ref, err)
			}
		}
		return nil
	})
	g.Go(func() error {
		if err := up.small(gctx, small); err != nil {
			return c.orasError(gctx, op, ref, err)
		}
		if p.referrer.data == nil {
			return nil
		}
		// A registry has to take what refers to an image that is still to come.
		// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject
		return c.putReferrers(gctx, op, ref, p.image.desc, []blob{p.referrer}, agreed)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = c.putManifest(ctx, op, ref, string(p.image.desc.Digest), p.image)
	return err
}

// describeModule says what the module is, and reads it for its digest unless the caller knows it.
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
	if m.Digest != "" {
		if _, err := ParseDigest(string(m.Digest)); err != nil {
			return Descriptor{}, &Error{Op: op, Subject: ref.String(), Kind: ErrInvalidReference, Detail: "the module's digest: " + err.Error(), Next: "give its sha256, or none", Err: err}
		}
		return Descriptor{MediaType: mediaTypeModuleContent, Digest: m.Digest, Size: m.Size}, nil
	}
	v := &verifier{hash: sha256.New()}
	if err := copyTo(ctx, v.hash, io.NewSectionReader(m.Content, 0, m.Size), func(int64) {}); err != nil {
		return Descriptor{}, fmt.Errorf("push %s: read the module: %w", ref, err)
	}
	return Descriptor{MediaType: mediaTypeModuleContent, Digest: v.digest(), Size: m.Size}, nil
}

// upload sends blobs. Its methods may be called at the same time.
type upload struct {
	repo     *remote.Repository
	progress Progress
	total    int64

	mu   sync.Mutex
	done int64 // bytes that are through
}

// blob sends a blob that the registry does not have.
func (u *upload) blob(ctx context.Context, b blob) error { return u.blobs(ctx, []blob{b}) }

// send sends a blob. What was read of it counts as through until it fails.
func (u *upload) send(ctx context.Context, b blob) error {
	var told int64
	r := &countingReader{r: b.open(), count: func(n int64) {
		u.through(n - told)
		told = n
	}}
	err := u.repo.Blobs().Push(ctx, b.desc.oci(), r)
	r.stop()
	if err != nil {
		return err
	}
	u.through(b.desc.Size - told)
	return nil
}

// through counts bytes.
func (u *upload) through(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done += n; u.progress != nil {
		u.progress(u.done, u.total)
	}
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
