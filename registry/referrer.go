package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

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
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
type referrerJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       Descriptor        `json:"subject"`
	Annotations   map[string]string `json:"annotations,omitempty"`
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
	referrers, err := c.referrers(ctx, a, ManifestArtifactType)
	if err != nil {
		return nil, err
	}
	// An artifact that names none can have been given several since. The newest by its own account is taken, and the
	// digest decides between equals, so that everybody takes the same.
	slices.SortFunc(referrers, func(x, y ocispec.Descriptor) int {
		if n := strings.Compare(y.Annotations[ocispec.AnnotationCreated], x.Annotations[ocispec.AnnotationCreated]); n != 0 {
			return n
		}
		return strings.Compare(string(x.Digest), string(y.Digest))
	})
	for _, r := range referrers {
		ref := a.Reference.InRepository().AtDigest(Digest(r.Digest))
		data, _, err := c.readManifest(ctx, op, ref)
		if errors.Is(err, ErrNotFound) {
			continue // an index can outlive what it lists
		}
		if err != nil {
			return nil, err
		}
		var m referrerJSON
		if json.Unmarshal(data, &m) != nil || m.Subject.Digest != a.Digest || m.ArtifactType != ManifestArtifactType || len(m.Layers) != 1 {
			continue // somebody else's idea of a waft manifest
		}
		return c.readBlob(ctx, op, a.Reference, m.Layers[0].Digest, m.Layers[0].Size, MaxAttachmentBytes)
	}
	return nil, nil
}

// referrers lists what is attached to an artifact, of one type, by the referrers API or by the tag schema.
func (c *Client) referrers(ctx context.Context, a Artifact, artifactType string) ([]ocispec.Descriptor, error) {
	repo, err := c.repository(a.Reference)
	if err != nil {
		return nil, err
	}
	subject := ocispec.Descriptor{MediaType: mediaTypeOCIManifest, Digest: digest.Digest(a.Digest), Size: int64(len(a.ImageManifest))}
	var all []ocispec.Descriptor
	err = repo.Referrers(ctx, subject, artifactType, func(page []ocispec.Descriptor) error {
		all = append(all, page...)
		if len(all) > MaxReferrers {
			return tooLarge("resolve", a.Reference.String()+" (its referrers)", MaxReferrers, int64(len(all)))
		}
		return nil
	})
	if err != nil {
		return nil, c.orasError(ctx, "resolve", a.Reference, err)
	}
	return slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return !Digest(d.Digest).Valid() }), nil
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
