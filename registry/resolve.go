package registry

import (
	"context"
	"mime"
	"net/http"
	"strings"
)

// acceptManifests is what a registry is asked for when a reference is resolved. Indexes are among them so that one that is
// met can be named for what it is.
var acceptManifests = strings.Join([]string{mediaTypeOCIManifest, mediaTypeDockerManifest, mediaTypeOCIIndex, mediaTypeDockerList}, ", ")

// Resolve finds what a reference names: the artifact's digest, its layout, its module's digest and size, and the waft
// manifest if one is attached. It downloads no module. A reference without tag and digest gets DefaultTag.
func (c *Client) Resolve(ctx context.Context, ref Reference) (Artifact, error) {
	a, err := c.resolve(ctx, "resolve", ref.WithDefaults())
	if err != nil {
		return Artifact{}, err
	}
	if a.Manifest, err = c.attachedManifest(ctx, a); err != nil {
		return Artifact{}, err
	}
	return a, nil
}

func (c *Client) resolve(ctx context.Context, op string, ref Reference) (Artifact, error) {
	data, mediaType, err := c.readManifest(ctx, op, ref)
	if err != nil {
		return Artifact{}, err
	}
	digest := DigestOf(data)
	parsed, err := parseImage(data, mediaType)
	if err != nil {
		return Artifact{}, withSubject(err, op, ref.String())
	}
	return Artifact{
		Reference: ref.AtDigest(digest), Digest: digest, Layout: parsed.layout, Module: parsed.module, Layer: parsed.layer,
		Annotations: parsed.annotations, ImageManifest: data,
	}, nil
}

// manifestAnswer is an image manifest, and the media type that the registry says it has.
type manifestAnswer struct {
	data      []byte
	mediaType string
}

// readManifest reads an image manifest and verifies it, and gives the media type that the registry says it has.
func (c *Client) readManifest(ctx context.Context, op string, ref Reference) ([]byte, string, error) {
	got, err := inTurn(ctx, ref, c.places(ref, ref.Digest != ""), func(at Reference) (manifestAnswer, error) {
		return again(ctx, c, func() (manifestAnswer, error) { return c.manifestAt(ctx, op, ref, at) })
	})
	return got.data, got.mediaType, err
}

func (c *Client) manifestAt(ctx context.Context, op string, ref, at Reference) (manifestAnswer, error) {
	resp, err := c.get(ctx, op, ref, at, kindManifests, ref.object(), http.Header{"Accept": {acceptManifests}})
	if err != nil {
		return manifestAnswer{}, err
	}
	defer resp.Body.Close()
	want := Descriptor{Digest: ref.Digest}
	if d, err := ParseDigest(resp.Header.Get("Docker-Content-Digest")); err == nil && want.Digest == "" {
		want.Digest = d // what the registry itself says that the tag names
	}
	data, err := readVerified(op, ref.String(), resp.Body, resp.ContentLength, want, MaxManifestBytes)
	if err != nil {
		return manifestAnswer{}, err
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = "" // the manifest's own field decides
	}
	return manifestAnswer{data: data, mediaType: mediaType}, nil
}
