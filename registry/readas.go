package registry

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
)

// Reading is what a reader gets out of an image.
type Reading struct {
	// Artifact is the digest of the image manifest, which Istio and Envoy Gateway compare their sha256 with.
	Artifact Digest `json:"artifact"`
	// Module is the digest and the size of the Wasm bytes, of which nothing was kept.
	Module Descriptor `json:"module"`
}

// ReadAs reads what a reference names by the rules of a reader, and says what that one would load. The registry itself is
// asked, and no mirror. The module is hashed as it comes, so memory does not depend on its size. What is over the limits of
// this package is refused, as everywhere, whatever the reader would do.
//
// An image that the reader would not take is an ErrUnsupportedLayout, ErrInvalidManifest, ErrInvalidArchive or
// ErrInvalidModule; bytes that are not what a descriptor says are an ErrDigestMismatch or ErrSizeMismatch.
func (c *Client) ReadAs(ctx context.Context, reader Reader, ref Reference) (Reading, error) {
	return c.readAs(ctx, reader, ref.WithDefaults(), map[Digest]Descriptor{})
}

const opReadAs = "read as another reader"

// readAs is ReadAs, without a second download of raw layers that were read before.
func (c *Client) readAs(ctx context.Context, reader Reader, ref Reference, seen map[Digest]Descriptor) (Reading, error) {
	fail := func(err error) (Reading, error) {
		return Reading{}, withSubject(err, opReadAs, ref.String()+" (as "+string(reader)+")")
	}
	answer, err := again(ctx, c, func() (manifestAnswer, error) { return c.manifestAt(ctx, opReadAs, ref, ref) })
	if err != nil {
		return Reading{}, err
	}
	var m imageJSON
	if err := json.Unmarshal(answer.data, &m); err != nil {
		return fail(invalidManifest("not a JSON manifest: %v", err))
	}
	if m.Manifests != nil {
		return fail(indexError(m.Manifests))
	}
	ways, err := reader.readings(m)
	if err != nil {
		return fail(err)
	}
	got := Reading{Artifact: DigestOf(answer.data)}
	var failed error
	for _, way := range ways {
		if got.Module, err = c.readModule(ctx, ref, way, seen); err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return Reading{}, err
		}
		if failed == nil { // the first way is the one that was meant
			failed = err
		}
	}
	return fail(failed)
}

// readModule reads the module in one way.
func (c *Client) readModule(ctx context.Context, ref Reference, way imageReading, seen map[Digest]Descriptor) (Descriptor, error) {
	if way.config.Digest != "" {
		data, err := again(ctx, c, func() ([]byte, error) {
			body, err := c.openExactly(ctx, ref, way.config, MaxConfigBytes)
			if err != nil {
				return nil, err
			}
			defer body.Close()
			return io.ReadAll(body)
		})
		if err != nil {
			return Descriptor{}, err
		}
		if err := way.check(data); err != nil {
			return Descriptor{}, invalidManifest("its configuration: %v", err)
		}
	}
	if d, ok := seen[way.layer.Digest]; ok && !way.packed {
		return d, nil
	}
	d, err := again(ctx, c, func() (Descriptor, error) {
		body, err := c.openExactly(ctx, ref, way.layer, c.maxModule)
		if err != nil {
			return Descriptor{}, err
		}
		defer body.Close()
		return readLayer(ctx, body, way.packed, c.maxModule)
	})
	if err == nil && !way.packed {
		seen[way.layer.Digest] = d
	}
	return d, err
}

// exactBody is a blob's body that ends with an error unless it is what its descriptor says.
type exactBody struct {
	io.Reader
	io.Closer
}

// openExactly opens a blob at the registry itself.
func (c *Client) openExactly(ctx context.Context, ref Reference, want Descriptor, limit int64) (io.ReadCloser, error) {
	subject := ref.subject(string(want.Digest))
	if _, err := ParseDigest(string(want.Digest)); err != nil || want.Size <= 0 {
		return nil, invalidManifest("a layer has the digest %s and the size %d", quote(string(want.Digest)), want.Size)
	}
	if want.Size > limit {
		return nil, tooLarge(opReadAs, subject, limit, want.Size)
	}
	resp, err := c.get(ctx, opReadAs, ref, ref, kindBlobs, string(want.Digest), nil)
	if err != nil {
		return nil, err
	}
	return exactBody{newVerifier(opReadAs, subject, resp.Body, want, limit), resp.Body}, nil
}

// readLayer hashes the module in a layer, and reads the layer to its end, so that all of it is verified.
func readLayer(ctx context.Context, layer io.Reader, packed bool, limit int64) (Descriptor, error) {
	m := &hashedModule{hash: sha256.New()}
	if !packed {
		if err := copyTo(ctx, m, layer, func(int64) {}); err != nil {
			return Descriptor{}, err
		}
		return m.descriptor()
	}
	// The error of the layer itself says more than that of what unpacks it.
	watched := &watchedReader{r: layer}
	err := unpackPlugin(m, watched, limit)
	if err == nil {
		_, err = io.Copy(io.Discard, watched)
	}
	if watched.err != nil {
		return Descriptor{}, watched.err
	}
	if err != nil {
		return Descriptor{}, err
	}
	return m.descriptor()
}

// unpackPlugin takes the first plugin.wasm out of a gzipped tar, wherever it stands, as Istio does.
func unpackPlugin(w io.Writer, layer io.Reader, limit int64) error {
	gz, err := gzip.NewReader(layer)
	if err != nil {
		return &Error{Kind: ErrInvalidArchive, Detail: "not gzip: " + err.Error(), Next: "publish the artifact again", Err: err}
	}
	entries := tar.NewReader(io.LimitReader(gz, limit+maxArchiveSlack))
	for range maxArchiveEntries {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &Error{Kind: ErrInvalidArchive, Detail: err.Error(), Next: "publish the artifact again", Err: err}
		}
		if path.Base(h.Name) != filePlugin {
			continue
		}
		if h.Size > limit {
			return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("%s has %d bytes, over the limit of %d", filePlugin, h.Size, limit), Next: "publish a smaller module"}
		}
		if _, err := io.Copy(w, entries); err != nil {
			return &Error{Kind: ErrInvalidArchive, Detail: err.Error(), Next: "publish the artifact again", Err: err}
		}
		return nil
	}
	return &Error{Kind: ErrInvalidArchive, Detail: "it holds no " + filePlugin, Next: "publish the artifact again", Err: ErrArchiveNoModule}
}

// watchedReader remembers how its reader failed.
type watchedReader struct {
	r   io.Reader
	err error // not io.EOF
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	return n, err
}

// hashedModule takes a module's bytes and keeps their digest, their number, and the first few.
type hashedModule struct {
	hash hash.Hash
	head []byte
	n    int64
}

func (m *hashedModule) Write(p []byte) (int, error) {
	if room := len(wasmMagic) - len(m.head); room > 0 {
		m.head = append(m.head, p[:min(room, len(p))]...)
	}
	m.n += int64(len(p))
	return m.hash.Write(p)
}

// descriptor says what was written. All that readers ask of the bytes is the magic number, whatever the version behind it.
func (m *hashedModule) descriptor() (Descriptor, error) {
	if len(m.head) < len(wasmMagic) || string(m.head[:4]) != wasmMagic[:4] {
		return Descriptor{}, &Error{Kind: ErrInvalidModule, Detail: fmt.Sprintf("it begins with %q, not with the Wasm magic number", m.head), Next: "publish a .wasm file that `waft check` accepts"}
	}
	return Descriptor{Digest: Digest(fmt.Sprintf("%s%x", sha256Prefix, m.hash.Sum(nil))), Size: m.n}, nil
}
