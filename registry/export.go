package registry

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// signatureTags are the ends of the tags under which cosign attaches things where it does not use referrers.
// https://github.com/sigstore/cosign/blob/v3.1.3/specs/SIGNATURE_SPEC.md
var signatureTags = []string{".sig", ".att", ".sbom"}

// Export writes artifacts, and everything that is attached to them, as a bundle. Everything is verified on its way, and held
// in memory only a piece at a time. After an error, what was written is of no use.
//
// Attached is what the registry lists as referrers, by its API or by the tag schema, what is attached to those in turn, and
// what cosign keeps under tags. What is attached and is no image manifest (an index, say) is left out, and Bundle says so: anyone may attach such
// things, and must not keep the rest from being exported.
func (c *Client) Export(ctx context.Context, refs []Reference, w io.Writer, progress Progress) (Bundle, error) {
	const op = "export"
	var manifests []bundleManifest
	var leftOut []Reference
	sources := map[string]Reference{} // by repository
	for _, ref := range refs {
		ref = ref.WithDefaults()
		if have, ok := sources[ref.Repository]; ok && have != ref.InRepository() {
			return Bundle{}, &Error{Op: op, Subject: ref.String(), Kind: ErrInvalidReference, Detail: "a repository of that name comes from " + have.Registry + ", too",
				Next: "export the two into bundles of their own"}
		}
		sources[ref.Repository] = ref.InRepository()
		found, left, err := c.gather(ctx, ref)
		if err != nil {
			return Bundle{}, err
		}
		manifests, leftOut = append(manifests, found...), append(leftOut, left...)
	}
	slices.SortFunc(manifests, func(a, b bundleManifest) int { return strings.Compare(a.name(), b.name()) })
	manifests = slices.CompactFunc(manifests, func(a, b bundleManifest) bool { return a.name() == b.name() })
	blobs, err := uniqueBlobs(manifests)
	if err != nil {
		return Bundle{}, withSubject(err, op, refs[0].String())
	}
	bundle := bundleOf(manifests, blobs, func(m bundleManifest) Reference {
		return Reference{Registry: sources[m.repository].Registry, Repository: m.repository, Tag: m.tag, Digest: m.desc.Digest}
	})
	bundle.LeftOut = leftOut
	from := map[Digest]Reference{}
	for _, m := range manifests {
		for _, d := range m.blobs {
			from[d.Digest] = sources[m.repository]
		}
	}
	e := &exporter{c: c, tar: tar.NewWriter(w), from: from, total: bundle.Bytes, progress: progress}
	return bundle, e.write(ctx, manifests, blobs)
}

// gather finds an artifact and everything that is attached to it, and names what of that a bundle cannot hold.
func (c *Client) gather(ctx context.Context, ref Reference) (found []bundleManifest, leftOut []Reference, err error) {
	const op = "export"
	root, err := c.bundled(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if _, err := parseImage(root.data, root.desc.MediaType); err != nil {
		return nil, nil, withSubject(err, op, ref.String())
	}
	found = []bundleManifest{root}
	seen := map[Digest]bool{root.desc.Digest: true}
	for i := 0; i < len(found); i++ { // found grows
		subject := found[i]
		attached, err := c.attachedTo(ctx, ref, subject.desc)
		if err != nil {
			return nil, nil, err
		}
		for _, at := range attached {
			m, err := c.bundled(ctx, at)
			if errors.Is(err, ErrNotFound) {
				continue // a list can outlive what it lists, and most signature tags are not there
			}
			if errors.Is(err, ErrUnsupportedLayout) || errors.Is(err, ErrInvalidManifest) {
				leftOut = append(leftOut, at)
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			if seen[m.desc.Digest] {
				continue
			}
			seen[m.desc.Digest] = true
			if m.attached = true; len(found) > MaxReferrers {
				return nil, nil, tooLarge(op, ref.String()+" (what is attached to it)", MaxReferrers, int64(len(found)))
			}
			found = append(found, m)
		}
	}
	return found, leftOut, nil
}

// bundled reads one manifest.
func (c *Client) bundled(ctx context.Context, ref Reference) (bundleManifest, error) {
	data, mediaType, err := c.readManifest(ctx, "export", ref)
	if err != nil {
		return bundleManifest{}, err
	}
	blobs, err := parseBundled(data, mediaType)
	if err != nil {
		return bundleManifest{}, withSubject(err, "export", ref.String())
	}
	if mediaType == "" {
		mediaType = mediaTypeOCIManifest
	}
	return bundleManifest{
		repository: ref.Repository, tag: ref.Tag, data: data, blobs: blobs,
		desc: Descriptor{MediaType: mediaType, Digest: DigestOf(data), Size: int64(len(data))},
	}, nil
}

// attachedTo lists where something may be that is attached to a manifest.
func (c *Client) attachedTo(ctx context.Context, ref Reference, subject Descriptor) ([]Reference, error) {
	repo, err := c.repository(ref)
	if err != nil {
		return nil, err
	}
	in := ref.InRepository()
	var all []Reference
	desc := ocispec.Descriptor{MediaType: subject.MediaType, Digest: digest.Digest(subject.Digest), Size: subject.Size}
	err = repo.Referrers(ctx, desc, "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			if Digest(d.Digest).Valid() {
				all = append(all, in.AtDigest(Digest(d.Digest)))
			}
		}
		if len(all) > MaxReferrers {
			return tooLarge("export", ref.String()+" (what is attached to it)", MaxReferrers, int64(len(all)))
		}
		return nil
	})
	if err != nil {
		return nil, c.orasError(ctx, "export", ref, err)
	}
	for _, end := range signatureTags {
		in.Tag = strings.Replace(string(subject.Digest), ":", "-", 1) + end
		all = append(all, in)
	}
	return all, nil
}

// exporter writes a bundle.
type exporter struct {
	c        *Client
	tar      *tar.Writer
	from     map[Digest]Reference // the repository of each blob
	done     int64
	total    int64
	progress Progress
}

func (e *exporter) write(ctx context.Context, manifests []bundleManifest, blobs []Descriptor) error {
	index := bundleIndexJSON{SchemaVersion: 2, MediaType: mediaTypeOCIIndex, Manifests: []bundleItem{}}
	for _, m := range manifests {
		index.Manifests = append(index.Manifests, bundleItem{Descriptor: m.desc, Annotations: map[string]string{annotationRefName: m.name()}})
	}
	text, err := encodeJSON(index)
	if err != nil {
		return err
	}
	if err := e.small(bundleLayoutFile, []byte(bundleLayoutText)); err != nil {
		return err
	}
	if err := e.small(bundleIndexFile, text); err != nil {
		return err
	}
	written := map[Digest]bool{}
	slices.SortFunc(manifests, func(a, b bundleManifest) int { return strings.Compare(string(a.desc.Digest), string(b.desc.Digest)) })
	for _, m := range manifests {
		if written[m.desc.Digest] {
			continue
		}
		written[m.desc.Digest] = true
		if err := e.small(bundleBlobs+m.desc.Digest.Hex(), m.data); err != nil {
			return err
		}
	}
	for _, d := range blobs {
		if written[d.Digest] {
			continue
		}
		if err := e.blob(ctx, d); err != nil {
			return err
		}
	}
	if err := e.tar.Close(); err != nil {
		return bundleWriteError(err)
	}
	return nil
}

// header is the same on every machine and at all times.
func (e *exporter) header(name string, size int64) error {
	err := e.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	if err != nil {
		return bundleWriteError(err)
	}
	return nil
}

func (e *exporter) small(name string, data []byte) error {
	if err := e.header(name, int64(len(data))); err != nil {
		return err
	}
	if _, err := e.tar.Write(data); err != nil {
		return bundleWriteError(err)
	}
	return nil
}

// blob writes a blob as it comes; what is wrong with it is known when it has ended.
func (e *exporter) blob(ctx context.Context, d Descriptor) error {
	const op = "export"
	ref := e.from[d.Digest]
	subject := ref.subject(string(d.Digest))
	if d.Size > e.c.maxModule {
		return tooLarge(op, subject, e.c.maxModule, d.Size)
	}
	if err := e.header(bundleBlobs+d.Digest.Hex(), d.Size); err != nil {
		return err
	}
	if d.Size == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, _, err := e.c.openBlob(ctx, op, ref, d, e.c.places(ref, true), 0)
	if err != nil {
		return err
	}
	defer body.Close()
	done := e.done
	err = copyUntil(ctx, e.tar, newVerifier(op, subject, body, d, e.c.maxModule), func(n int64) {
		if e.done = done + n; e.progress != nil {
			e.progress(e.done, e.total)
		}
	}, cancel)
	var we *writeError
	if errors.As(err, &we) {
		return bundleWriteError(we.err)
	}
	return err
}

func bundleWriteError(err error) error {
	return &Error{Op: "export", Subject: "the bundle", Kind: ErrStorage, Detail: causeText(err), Next: "check that the file can be written to and the disk is not full", Err: err}
}
