package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Attachment is something that belongs to an artifact and is kept beside it: a manifest, a signature, an SBOM, a test report.
// The registry keeps it as an OCI 1.1 referrer: an image manifest whose subject is the artifact.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
type Attachment struct {
	// ArtifactType says what it is, as a media type. Required.
	ArtifactType string
	// MediaType is that of Data; empty: ArtifactType.
	MediaType string
	// Data is at most MaxAttachmentBytes.
	Data []byte
	// Annotations of the referrer; registries show them in the list of referrers. Nothing is added, so that the same
	// attachment has the same digest each time.
	Annotations map[string]string
}

// Referrer is an attachment as the list of an artifact's referrers shows it. Whoever may write to the repository can have
// written it: only Descriptor is verified, when the attachment is read.
type Referrer struct {
	// Descriptor is that of the referrer's image manifest.
	Descriptor   Descriptor        `json:"descriptor"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Attach keeps an attachment beside an artifact (of which Reference and Digest count, and ImageManifest), and says where. The
// same attachment twice is one.
//
// Where a registry has no referrers API, the attachment is added to the index at the tag that the OCI specification names
// for that. Others may add to that index at the same time: what was written is read back, and written again when it was lost.
// Only a writer that stalls for seconds between its reading and its writing can still undo it.
func (c *Client) Attach(ctx context.Context, a Artifact, att Attachment) (Referrer, error) {
	referrers, err := c.AttachAll(ctx, a, []Attachment{att})
	if err != nil {
		return Referrer{}, err
	}
	return referrers[0], nil
}

// AttachAll is Attach of several, of which it gives the referrers in their order. The index of a registry without referrers API is
// written once for all of them, after everything else; when it fails, some may be attached.
func (c *Client) AttachAll(ctx context.Context, a Artifact, attachments []Attachment) ([]Referrer, error) {
	const op = "attach"
	subject := a.Reference.String()
	var blobs, manifests []blob
	referrers := make([]Referrer, len(attachments))
	for i, att := range attachments {
		if err := validMediaType(att.ArtifactType); err != nil {
			return nil, &Error{Op: op, Subject: subject, Kind: ErrInvalidManifest, Detail: "artifact type: " + err.Error(), Next: "give a media type, such as application/vnd.example.report+json", Err: err}
		}
		if len(att.Data) > MaxAttachmentBytes {
			return nil, tooLarge(op, subject+" (its attachment)", MaxAttachmentBytes, int64(len(att.Data)))
		}
		content, manifest, err := planReferrer(a.Descriptor(), att)
		if err != nil {
			return nil, fmt.Errorf("attach to %s: %w", subject, err)
		}
		for _, b := range content {
			if !slices.ContainsFunc(blobs, func(have blob) bool { return have.desc.Digest == b.desc.Digest }) {
				blobs = append(blobs, b)
			}
		}
		manifests = append(manifests, manifest)
		referrers[i] = Referrer{Descriptor: manifest.desc, ArtifactType: att.ArtifactType, Annotations: att.Annotations}
	}
	repo, err := c.repository(a.Reference)
	if err != nil {
		return nil, err
	}
	up := &upload{repo: repo}
	if err := up.blobs(ctx, blobs); err != nil {
		return nil, c.orasError(ctx, op, a.Reference, err)
	}
	if err := c.putReferrers(ctx, op, a.Reference, a.Descriptor(), manifests, false); err != nil {
		return nil, err
	}
	return referrers, nil
}

// Referrers lists what is attached to an artifact, of one artifact type or, when that is empty, of every type. The order is
// the registry's. An artifact with more than MaxReferrers is an ErrTooLarge.
func (c *Client) Referrers(ctx context.Context, a Artifact, artifactType string) ([]Referrer, error) {
	const op = "referrers"
	repo, err := c.repository(a.Reference)
	if err != nil {
		return nil, err
	}
	subject := a.Descriptor().oci()
	var all []Referrer
	err = repo.Referrers(ctx, subject, artifactType, func(page []ocispec.Descriptor) error {
		for _, d := range page {
			if !Digest(d.Digest).Valid() {
				continue // of an algorithm that this package does not take
			}
			all = append(all, Referrer{
				Descriptor:   Descriptor{MediaType: d.MediaType, Digest: Digest(d.Digest), Size: d.Size},
				ArtifactType: d.ArtifactType, Annotations: d.Annotations,
			})
		}
		if len(all) > MaxReferrers {
			return tooMany(op, a.Reference.String(), "referrers", MaxReferrers)
		}
		return nil
	})
	if err != nil {
		return nil, c.orasError(ctx, op, a.Reference, err)
	}
	return all, nil
}

// ReadReferrer reads an attachment, verified by its digests. A referrer of another artifact, or one that has not exactly one
// layer, is an ErrInvalidManifest; ErrNotFound is one that is listed and no longer there.
func (c *Client) ReadReferrer(ctx context.Context, a Artifact, r Referrer) (Attachment, error) {
	const op = "referrers"
	ref := a.Reference.InRepository().AtDigest(r.Descriptor.Digest)
	data, _, err := c.readManifest(ctx, op, ref)
	if err != nil {
		return Attachment{}, err
	}
	m, err := parseReferrer(data, a.Digest)
	if err != nil {
		return Attachment{}, withSubject(err, op, ref.String())
	}
	body, err := c.readBlob(ctx, op, a.Reference, m.Layers[0].Digest, m.Layers[0].Size, MaxAttachmentBytes)
	if err != nil {
		return Attachment{}, err
	}
	return Attachment{ArtifactType: m.ArtifactType, MediaType: m.Layers[0].MediaType, Data: body, Annotations: m.Annotations}, nil
}

// repository is oras-go's view of a repository, which knows the referrers API and its tag-schema fallback. It learns which
// of the two a registry has, so one is made for each operation and asks again.
func (c *Client) repository(ref Reference) (*remote.Repository, error) {
	repo, err := remote.NewRepository(ref.InRepository().String())
	if err != nil {
		return nil, &Error{Op: "reference", Subject: ref.String(), Kind: ErrInvalidReference, Detail: err.Error(), Next: "check the reference", Err: err}
	}
	repo.Client = c.http
	repo.PlainHTTP = c.isPlainHTTP(ref.Registry)
	repo.MaxMetadataBytes = MaxManifestBytes
	repo.ReferrerListMaxPages = maxReferrerPages
	// Many registries let nobody delete. An index that is left over does no harm.
	repo.SkipReferrersGC = true
	return repo, nil
}

const maxReferrerPages = 16

// referrerJSON is the image manifest of a referrer.
type referrerJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       Descriptor        `json:"subject"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// planReferrer lays out an attachment: the blobs, and the manifest that names them.
func planReferrer(subject Descriptor, att Attachment) ([]blob, blob, error) {
	mediaType := att.MediaType
	if mediaType == "" {
		mediaType = att.ArtifactType
	}
	empty, content := emptyBlob(), newBlob(mediaType, att.Data)
	manifest, err := encodeJSON(referrerJSON{
		SchemaVersion: 2, MediaType: mediaTypeOCIManifest, ArtifactType: att.ArtifactType, Config: empty.desc,
		Layers: []Descriptor{content.desc}, Subject: subject, Annotations: att.Annotations,
	})
	if err != nil {
		return nil, blob{}, err
	}
	return []blob{empty, content}, newBlob(mediaTypeOCIManifest, manifest), nil
}

// parseReferrer reads the manifest of what is attached to subject.
func parseReferrer(data []byte, subject Digest) (referrerJSON, error) {
	var m referrerJSON
	if err := decodeStrictly(data, &m); err != nil {
		return m, invalidManifest("not a JSON manifest: %v", err)
	}
	switch {
	case m.Subject.Digest != subject:
		return m, invalidManifest("its subject is %s, not %s", quote(string(m.Subject.Digest)), subject)
	case len(m.Layers) != 1:
		return m, invalidManifest("it has %d layers, want 1", len(m.Layers))
	case !m.Layers[0].Digest.Valid() || m.Layers[0].Size < 0:
		return m, invalidManifest("its layer has the digest %s and the size %d", quote(string(m.Layers[0].Digest)), m.Layers[0].Size)
	}
	if m.ArtifactType == "" {
		m.ArtifactType = m.Config.MediaType // as the specification has it
	}
	return m, nil
}

// putReferrers writes the manifests of referrers and sees to it that they are listed. agreed says that whoever else attaches something to
// the subject attaches these first.
func (c *Client) putReferrers(ctx context.Context, op string, ref Reference, subject Descriptor, referrers []blob, agreed bool) error {
	var entries []indexEntry
	for _, r := range referrers {
		head, err := c.putManifest(ctx, op, ref, string(r.desc.Digest), r)
		if err != nil {
			return err
		}
		// A registry that keeps referrers says so; for any other, the client does it.
		// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject
		if head.Get("OCI-Subject") != "" {
			continue
		}
		entry, err := newIndexEntry(r)
		if err != nil {
			return fmt.Errorf("%s %s: %w", op, ref, err)
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return nil
	}
	return c.mergeTag(ctx, op, referrersTag(ref, subject.Digest), tagChange{agreed: agreed, merge: func(old []byte) (blob, error) {
		return addToIndex(old, entries)
	}})
}

// referrersTag is where the list of an artifact's referrers stands in a registry that keeps none itself.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema
func referrersTag(ref Reference, subject Digest) Reference {
	ref = ref.InRepository()
	ref.Tag = digestTag(subject)
	return ref
}

func digestTag(d Digest) string { return strings.Replace(string(d), ":", "-", 1) }

type indexEntryJSON struct {
	Descriptor
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// indexEntry is a line of a list of referrers.
type indexEntry struct {
	digest Digest
	text   json.RawMessage
}

// newIndexEntry is the line of a referrer, of its manifest.
func newIndexEntry(referrer blob) (indexEntry, error) {
	var m referrerJSON
	if err := json.Unmarshal(referrer.data, &m); err != nil {
		return indexEntry{}, err
	}
	text, err := encodeJSON(indexEntryJSON{Descriptor: referrer.desc, ArtifactType: m.ArtifactType, Annotations: m.Annotations})
	return indexEntry{referrer.desc.Digest, text}, err
}

// addToIndex adds entries to a list of referrers, and keeps what others wrote as they wrote it. A blob without data is
// nothing to do.
func addToIndex(old []byte, added []indexEntry) (blob, error) {
	index := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + mediaTypeOCIIndex + `"`),
	}
	var entries []json.RawMessage
	have := map[Digest]bool{}
	if old != nil {
		var was struct {
			MediaType string            `json:"mediaType"`
			Manifests []json.RawMessage `json:"manifests"`
		}
		if err := decodeStrictly(old, &was); err != nil {
			return blob{}, invalidManifest("the list of referrers is not JSON: %v", err)
		}
		if was.MediaType != mediaTypeOCIIndex {
			return blob{}, invalidManifest("where the list of referrers belongs stands a %s", quote(was.MediaType))
		}
		for _, raw := range was.Manifests {
			var d Descriptor
			if json.Unmarshal(raw, &d) == nil {
				have[d.Digest] = true
			}
		}
		entries = was.Manifests
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(old, &members); err != nil {
			return blob{}, invalidManifest("the list of referrers is not JSON: %v", err)
		}
		for name, value := range members {
			// Readers take a member in whatever case; beside one of ours it would stand twice.
			for _, ours := range []string{"schemaVersion", "mediaType", "manifests"} {
				if strings.EqualFold(name, ours) {
					name = ours
				}
			}
			index[name] = value
		}
	}
	before := len(entries)
	for _, e := range added {
		if !have[e.digest] {
			have[e.digest] = true
			entries = append(entries, e.text)
		}
	}
	switch {
	case len(entries) == before:
		return blob{}, nil
	case len(entries) > MaxReferrers:
		return blob{}, tooMany("", "", "referrers", MaxReferrers)
	}
	list, err := encodeJSON(entries)
	if err != nil {
		return blob{}, err
	}
	index["manifests"] = list
	data, err := encodeJSON(index)
	if err != nil {
		return blob{}, err
	}
	return newBlob(mediaTypeOCIIndex, data), nil
}

func tooMany(op, subject, what string, limit int) error {
	return &Error{Op: op, Subject: subject, Kind: ErrTooLarge, Detail: fmt.Sprintf("more than %d %s", limit, what), Next: "remove some of them from the registry"}
}

// Descriptor names the artifact's image manifest.
func (a Artifact) Descriptor() Descriptor {
	d := Descriptor{MediaType: mediaTypeOCIManifest, Digest: a.Digest, Size: int64(len(a.ImageManifest))}
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(a.ImageManifest, &m) == nil && m.MediaType != "" {
		d.MediaType = m.MediaType
	}
	return d
}

// attachedManifest reads the waft manifest of an artifact; nil when there is none. Where the artifact names one, only that
// one counts.
func (c *Client) attachedManifest(ctx context.Context, a Artifact) ([]byte, error) {
	const op = "resolve"
	if named, ok := a.Annotations[AnnotationManifest]; ok {
		d, err := ParseDigest(named)
		if err != nil {
			return nil, &Error{Op: op, Subject: a.Reference.String(), Kind: ErrInvalidManifest, Detail: "annotation " + AnnotationManifest + ": " + err.Error(), Next: "publish the artifact again", Err: err}
		}
		data, err := c.readBlob(ctx, op, a.Reference, d, 0, MaxAttachmentBytes)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // the artifact was copied without what is attached to it
		}
		return data, err
	}
	referrers, err := c.Referrers(ctx, a, ManifestArtifactType)
	if err != nil {
		return nil, err
	}
	// An artifact that names none can have been given several since. The newest by its own account is taken, and the
	// digest decides between equals, so that everybody takes the same.
	slices.SortFunc(referrers, func(x, y Referrer) int {
		if n := strings.Compare(y.Annotations[ocispec.AnnotationCreated], x.Annotations[ocispec.AnnotationCreated]); n != 0 {
			return n
		}
		return strings.Compare(string(x.Descriptor.Digest), string(y.Descriptor.Digest))
	})
	for _, r := range referrers {
		att, err := c.ReadReferrer(ctx, a, r)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidManifest) || err == nil && att.ArtifactType != ManifestArtifactType {
			continue // an index can outlive what it lists; or it is somebody else's idea of a waft manifest
		}
		return att.Data, err
	}
	return nil, nil
}

// encodeJSON writes what Push uploads: fields in the order of the struct, map keys sorted, no white space, so that the same
// values give the same digest.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// validMediaType checks a media type as the image specification wants artifact types: TYPE/SUBTYPE, without parameters.
func validMediaType(s string) error {
	const maxMediaTypeBytes = 255
	t, params, err := mime.ParseMediaType(s)
	if err != nil || len(params) > 0 || !strings.Contains(t, "/") || len(s) > maxMediaTypeBytes {
		return fmt.Errorf("%s is not a media type", quote(s))
	}
	return nil
}
