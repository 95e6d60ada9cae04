package registry

import (
	"context"
	"errors"
	"io"
	"os"
)

// Pull resolves a reference and puts its module into the cache. It gives the artifact, its Module filled in whatever the
// layout, and the module's file, which is the cache's: read it, copy it, do not write to it. Layouts that pack the module are
// unpacked. A module that the cache holds already is not downloaded again.
func (c *Client) Pull(ctx context.Context, ref Reference, progress Progress) (Artifact, string, error) {
	if err := c.needCache("pull", ref.String()); err != nil {
		return Artifact{}, "", err
	}
	a, err := c.Resolve(ctx, ref)
	if err != nil {
		return Artifact{}, "", err
	}
	return c.PullArtifact(ctx, a, progress)
}

// PullArtifact is Pull of an artifact that Resolve gave: it asks the registry for nothing but the module.
func (c *Client) PullArtifact(ctx context.Context, a Artifact, progress Progress) (_ Artifact, path string, err error) {
	if err := c.needCache("pull", a.Reference.String()); err != nil {
		return Artifact{}, "", err
	}
	if a.Packed() {
		a.Module, path, err = c.pullPacked(ctx, a, progress)
	} else {
		path, err = c.fetch(ctx, a.Reference, a.Layer, progress)
	}
	if err != nil {
		return Artifact{}, "", err
	}
	if err := checkMagicOfFile("pull", a.Reference.String(), path); err != nil {
		return Artifact{}, "", err
	}
	return a, path, nil
}

// FetchModule gives the file of one blob of a repository by its digest: from the cache, or from the registry, verified. A
// size of 0 is one that is not known. Whether the bytes are Wasm is not looked at; the digest is their identity.
func (c *Client) FetchModule(ctx context.Context, repository Reference, digest Digest, size int64) (string, error) {
	if err := c.needCache("fetch", repository.String()); err != nil {
		return "", err
	}
	return c.fetch(ctx, repository, Descriptor{Digest: digest, Size: size}, nil)
}

func (c *Client) fetch(ctx context.Context, ref Reference, want Descriptor, progress Progress) (string, error) {
	places := c.places(ref, true)
	source := ref.InRepository().String()
	path, err := c.fetchFrom(ctx, ref, want, places, source, progress)
	if len(places) > 1 && (errors.Is(err, ErrDigestMismatch) || errors.Is(err, ErrSizeMismatch) || errors.Is(err, ErrTooLarge)) {
		// Some place gave other bytes than it should. The registry itself is the last to ask, by a name of its own: who comes upon a download of others
		// by way of the same mirrors must not take its failure for that of the registry.
		return c.fetchFrom(ctx, ref, want, []Reference{ref}, source+pastMirrors, progress)
	}
	return path, err
}

// pastMirrors is behind the name of a source that is asked itself, where its mirrors failed.
const pastMirrors = " (itself)"

func (c *Client) fetchFrom(ctx context.Context, ref Reference, want Descriptor, places []Reference, source string, progress Progress) (string, error) {
	return c.cache.Fetch(ctx, want, c.maxModule, source, progress, func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		return c.openBlob(ctx, "fetch", ref, want, places, offset)
	})
}

func (c *Client) needCache(op, subject string) error {
	if c.cache != nil {
		return nil
	}
	return &Error{Op: op, Subject: subject, Kind: ErrStorage, Detail: "the client has no cache", Next: "give Config.Cache"}
}

func checkMagicOfFile(op, subject, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &Error{Op: op, Subject: subject, Kind: ErrStorage, Detail: err.Error(), Next: "try again: the entry was removed just now", Err: err}
	}
	defer f.Close()
	head := make([]byte, len(wasmMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Op: op, Subject: subject, Kind: ErrStorage, Detail: err.Error(), Next: "check the disk", Err: err}
	}
	return checkMagic(op, subject, head[:n])
}
