package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Import publishes what a bundle holds: each artifact at to's registry, under to's repository as a prefix, with the
// repository and the tag that it has in the bundle. to may be a registry alone (its Repository empty). Bundles of other tools
// name tags alone; those go to to's repository itself.
//
// Everything is verified on its way; blobs are not held in memory. Tags are written last, so that an import that fails or is
// interrupted changes nothing that a reader sees, and can be made again.
func (c *Client) Import(ctx context.Context, bundle io.ReaderAt, size int64, to Reference, progress Progress) (Bundle, error) {
	const op = "import"
	files, err := scanBundle(bundle, size)
	if err != nil {
		return Bundle{}, withSubject(err, op, "the bundle")
	}
	manifests, err := files.manifests(to.Repository)
	if err != nil {
		return Bundle{}, withSubject(err, op, "the bundle")
	}
	blobs, err := uniqueBlobs(manifests)
	if err != nil {
		return Bundle{}, withSubject(err, op, "the bundle")
	}
	at := func(m bundleManifest) Reference {
		return Reference{Registry: to.Registry, Repository: m.repository, Tag: m.tag, Digest: m.desc.Digest}
	}
	out := bundleOf(manifests, blobs, at)
	i := &importer{c: c, files: files, progress: progress}
	for _, m := range manifests {
		for _, d := range m.blobs {
			i.total += d.Size
		}
	}
	for _, m := range manifests {
		if err := i.blobs(ctx, at(m), m.blobs); err != nil {
			return Bundle{}, err
		}
	}
	// What is attached comes after what it is attached to, and the tags after everything.
	for _, tagging := range []bool{false, true} {
		for _, attached := range []bool{false, true} {
			for _, m := range manifests {
				if m.attached != attached || tagging && m.tag == "" {
					continue
				}
				if err := i.manifest(ctx, at(m), m, tagging); err != nil {
					return Bundle{}, err
				}
			}
		}
	}
	return out, nil
}

// bundleFiles are the files of a bundle, by name.
type bundleFiles struct {
	r     io.ReaderAt
	files map[string]span
}

type span struct{ offset, size int64 }

// scanBundle reads where the files are, and refuses what does not belong into an image layout.
func scanBundle(r io.ReaderAt, size int64) (*bundleFiles, error) {
	section := io.NewSectionReader(r, 0, size)
	t := tar.NewReader(section)
	b := &bundleFiles{r: r, files: map[string]span{}}
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, invalidBundle("it is not a whole tar: %v", err)
		}
		if n >= maxBundleEntries {
			return nil, tooLarge("", "", maxBundleEntries, int64(n))
		}
		if len(h.Name) > maxBundleNameBytes {
			return nil, invalidBundle("entry %s has a name of %d bytes, over the limit of %d", quote(h.Name), len(h.Name), maxBundleNameBytes)
		}
		if path.IsAbs(h.Name) || escapes(h.Name) {
			return nil, invalidBundle("entry %s is outside the bundle", quote(h.Name))
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg:
		default:
			return nil, invalidBundle("entry %s is a link or a device", quote(h.Name))
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				// What is in the file is not what is in the archive, and files are read where they stand.
				return nil, invalidBundle("entry %s is a sparse file", quote(h.Name))
			}
		}
		offset, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if offset+h.Size > size {
			return nil, invalidBundle("entry %s is cut short", quote(h.Name))
		}
		name := path.Clean(h.Name)
		if _, twice := b.files[name]; twice {
			return nil, invalidBundle("entry %s is there twice", quote(name))
		}
		b.files[name] = span{offset, h.Size}
	}
	if _, ok := b.files[bundleLayoutFile]; !ok {
		return nil, invalidBundle("it holds no file %s, so it is not an OCI image layout", bundleLayoutFile)
	}
	return b, nil
}

func (b *bundleFiles) open(name string) (*io.SectionReader, error) {
	at, ok := b.files[name]
	if !ok {
		return nil, invalidBundle("%s is missing", name)
	}
	return io.NewSectionReader(b.r, at.offset, at.size), nil
}

// read reads a small file.
func (b *bundleFiles) read(name string, limit int64) ([]byte, error) {
	r, err := b.open(name)
	if err != nil {
		return nil, err
	}
	if r.Size() > limit {
		return nil, tooLarge("", "", limit, r.Size())
	}
	return io.ReadAll(r)
}

// manifests reads index.json, and the manifests that it names. prefix is what their repositories go under.
func (b *bundleFiles) manifests(prefix string) ([]bundleManifest, error) {
	text, err := b.read(bundleIndexFile, MaxManifestBytes)
	if err != nil {
		return nil, err
	}
	var index bundleIndexJSON
	if err := decodeStrictly(text, &index); err != nil {
		return nil, invalidBundle("%s: %v", bundleIndexFile, err)
	}
	if len(index.Manifests) == 0 || len(index.Manifests) > maxBundleManifests {
		return nil, invalidBundle("it has %d manifests, want 1 to %d", len(index.Manifests), maxBundleManifests)
	}
	var all []bundleManifest
	names := map[string]bool{}
	total := int64(maxBundleManifestBytes)
	for _, item := range index.Manifests {
		m := bundleManifest{desc: item.Descriptor}
		name := item.Annotations[annotationRefName]
		if m.repository, m.tag, err = bundleName(name); err != nil {
			return nil, invalidBundle("the name %s: %v", quote(name), err)
		}
		switch m.repository = path.Join(prefix, m.repository); {
		case m.repository == "":
			return nil, invalidBundle("a manifest has the name %s, which names no repository", quote(name))
		case validRepository(m.repository) != nil:
			return nil, invalidBundle("the repository: %v", validRepository(m.repository))
		}
		if !item.Digest.Valid() {
			return nil, invalidBundle("a manifest has the digest %s", quote(string(item.Digest)))
		}
		switch {
		case m.tag != "" && names[m.name()]:
			return nil, invalidBundle("the name %s stands there twice", quote(name))
		case strings.HasPrefix(m.tag, "sha256-") && len(m.tag) == len("sha256-")+64:
			return nil, invalidBundle("the tag %s is that of a list of referrers", quote(m.tag))
		}
		names[m.name()] = true
		if m.data, err = b.read(bundleBlobs+item.Digest.Hex(), min(MaxManifestBytes, total)); err != nil {
			return nil, err
		}
		total -= int64(len(m.data))
		if have := DigestOf(m.data); have != item.Digest || int64(len(m.data)) != item.Size {
			return nil, digestMismatch("import", "the bundle, manifest "+string(item.Digest), item.Digest, have)
		}
		if m.blobs, err = parseBundled(m.data, item.MediaType); err != nil {
			return nil, err
		}
		var subject struct {
			Subject *Descriptor `json:"subject"`
		}
		m.attached = m.isSignatureTag() || m.tag == "" && json.Unmarshal(m.data, &subject) == nil && subject.Subject != nil
		all = append(all, m)
	}
	return all, nil
}

// isSignatureTag says whether the tag is one of cosign's.
func (m bundleManifest) isSignatureTag() bool {
	return slices.ContainsFunc(signatureTags, func(end string) bool {
		return len(m.tag) == len("sha256-")+64+len(end) && m.tag[:7] == "sha256-" && m.tag[len(m.tag)-len(end):] == end
	})
}

// importer publishes a bundle.
type importer struct {
	c        *Client
	files    *bundleFiles
	done     int64
	total    int64
	progress Progress
}

func (i *importer) blobs(ctx context.Context, ref Reference, blobs []Descriptor) error {
	repo, err := i.c.repository(ref)
	if err != nil {
		return err
	}
	for _, d := range blobs {
		if err := i.blob(ctx, repo, ref, d); err != nil {
			return err
		}
		i.done += d.Size
		i.tell(i.done)
	}
	return nil
}

func (i *importer) blob(ctx context.Context, repo *remote.Repository, ref Reference, d Descriptor) error {
	const op = "import"
	exists, err := repo.Blobs().Exists(ctx, d.oci())
	if err != nil {
		return i.c.orasError(ctx, op, ref, err)
	}
	if exists {
		return nil
	}
	content, err := i.files.open(bundleBlobs + d.Digest.Hex())
	if err != nil {
		return withSubject(err, op, "the bundle, for "+ref.String())
	}
	subject := "the bundle, blob " + string(d.Digest)
	if content.Size() != d.Size {
		return sizeMismatch(op, subject, d.Size, content.Size())
	}
	// The verifier's error, not what the upload makes of it, is the one to tell.
	v := newVerifier(op, subject, content, d, i.c.maxModule)
	done := i.done
	r := &countingReader{r: v, count: func(n int64) { i.tell(done + n) }}
	err = repo.Blobs().Push(ctx, d.oci(), r)
	r.stop()
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return i.c.orasError(ctx, op, ref, err)
}

func (i *importer) manifest(ctx context.Context, ref Reference, m bundleManifest, tag bool) error {
	repo, err := i.c.repository(ref)
	if err != nil {
		return err
	}
	if tag && m.isSignatureTag() {
		return i.sidecar(ctx, repo, ref, m)
	}
	desc := ocispec.Descriptor{MediaType: m.desc.MediaType, Digest: digest.Digest(m.desc.Digest), Size: m.desc.Size}
	if tag {
		err = repo.Manifests().PushReference(ctx, desc, bytes.NewReader(m.data), m.tag)
	} else {
		err = repo.Manifests().Push(ctx, desc, bytes.NewReader(m.data))
	}
	if err != nil {
		return i.c.orasError(ctx, "import", ref, fmt.Errorf("manifest %s: %w", m.desc.Digest, err))
	}
	return nil
}

// sidecar adds the layers of a sidecar to what stands at its tag already: others may have signed there.
func (i *importer) sidecar(ctx context.Context, repo *remote.Repository, ref Reference, m bundleManifest) error {
	const op = "import"
	ref.Digest = ""
	side, err := parseSidecar(m.data)
	if err != nil {
		return withSubject(err, op, "the bundle, for "+ref.String())
	}
	up := &upload{repo: repo}
	var config blob // of the latest merge
	merge := func(old []byte) (next blob, err error) {
		if config = (blob{}); old == nil {
			return blob{desc: m.desc, data: m.data}, nil
		}
		for _, l := range side.Layers {
			image, conf, err := addToSidecar(old, l)
			if err != nil {
				return blob{}, err
			}
			if image.data != nil {
				next, config, old = image, conf, image.data
			}
		}
		return next, nil
	}
	return i.c.mergeTag(ctx, op, ref, tagChange{merge: merge, prepare: func(blob) error {
		if config.data == nil {
			return nil
		}
		if err := up.blob(ctx, config); err != nil {
			return i.c.orasError(ctx, op, ref, err)
		}
		return nil
	}})
}

func (i *importer) tell(done int64) {
	if i.progress != nil {
		i.progress(done, i.total)
	}
}
