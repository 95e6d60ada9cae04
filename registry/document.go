package registry

import "context"

// Document is an artifact that holds one blob and no module, under an artifact type of its own: something that is to be signed
// and kept like a module, such as a release.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
type Document struct {
	// ArtifactType says what it is, as a media type; it is that of the blob, too. Required.
	ArtifactType string
	// Data is at most MaxAttachmentBytes.
	Data []byte
	// Annotations of the image manifest. Nothing is added, so that the same document has the same digest each time.
	Annotations map[string]string
}

// documentJSON is the image manifest of a document.
type documentJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Artifact is the artifact that PushDocument makes of it in the repository of ref, whether it was pushed or not: what is signed
// and asked for has that digest.
func (d Document) Artifact(ref Reference) (Artifact, error) {
	_, _, a, err := d.plan(ref)
	return a, err
}

func (d Document) plan(ref Reference) (blobs []blob, manifest blob, a Artifact, err error) {
	const op = "push"
	subject := ref.String()
	if err := validMediaType(d.ArtifactType); err != nil {
		return nil, blob{}, Artifact{}, &Error{Op: op, Subject: subject, Kind: ErrInvalidManifest, Detail: "artifact type: " + err.Error(), Next: "give a media type", Err: err}
	}
	if len(d.Data) > MaxAttachmentBytes {
		return nil, blob{}, Artifact{}, tooLarge(op, subject, MaxAttachmentBytes, int64(len(d.Data)))
	}
	empty, content := emptyBlob(), newBlob(d.ArtifactType, d.Data)
	text, err := encodeJSON(documentJSON{
		SchemaVersion: 2, MediaType: mediaTypeOCIManifest, ArtifactType: d.ArtifactType, Config: empty.desc,
		Layers: []Descriptor{content.desc}, Annotations: d.Annotations,
	})
	if err != nil {
		return nil, blob{}, Artifact{}, err
	}
	manifest = newBlob(mediaTypeOCIManifest, text)
	return []blob{empty, content}, manifest, Artifact{
		Reference: ref.AtDigest(manifest.desc.Digest), Digest: manifest.desc.Digest, Annotations: d.Annotations, ImageManifest: text,
	}, nil
}

// PushDocument publishes a document at the reference's tag. The same document twice is one. BeforeTag is called when all of
// it is there and no tag names it yet; an error from it ends the push. Nil: nothing.
func (c *Client) PushDocument(ctx context.Context, ref Reference, d Document, beforeTag func(context.Context, Artifact) error) (Artifact, error) {
	const op = "push"
	blobs, manifest, a, err := d.plan(ref)
	if err != nil {
		return Artifact{}, err
	}
	repo, err := c.repository(ref)
	if err != nil {
		return Artifact{}, err
	}
	up := &upload{repo: repo}
	if err := up.blobs(ctx, blobs); err != nil {
		return Artifact{}, c.orasError(ctx, op, ref, err)
	}
	if _, err := c.putManifest(ctx, op, ref, string(a.Digest), manifest); err != nil {
		return Artifact{}, err
	}
	if beforeTag != nil {
		if err := beforeTag(ctx, a); err != nil {
			return Artifact{}, err
		}
	}
	if ref.Tag == "" {
		return a, nil
	}
	_, err = c.putManifest(ctx, op, ref, ref.Tag, manifest)
	return a, err
}

// ReadImage reads an image manifest that did not come from its registry, by the rules of Resolve; ref says where it is from. A
// manifest that does not say its media type is taken as an OCI one. Nothing is verified but what the manifest itself says:
// Artifact.Digest is that of the bytes.
func ReadImage(ref Reference, manifest []byte) (Artifact, error) {
	if len(manifest) > MaxManifestBytes {
		return Artifact{}, tooLarge("resolve", ref.String(), MaxManifestBytes, int64(len(manifest)))
	}
	contentType := mediaTypeOCIManifest
	var named imageJSON
	if err := decodeStrictly(manifest, &named); err == nil && named.MediaType != "" {
		contentType = ""
	}
	parsed, err := parseImage(manifest, contentType)
	if err != nil {
		return Artifact{}, withSubject(err, "resolve", ref.String())
	}
	digest := DigestOf(manifest)
	return Artifact{
		Reference: ref.AtDigest(digest), Digest: digest, Layout: parsed.layout, Module: parsed.module, Layer: parsed.layer,
		Annotations: parsed.annotations, ImageManifest: manifest,
	}, nil
}
