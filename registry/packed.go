package registry

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits on an archive, beside that on the module in it.
const (
	// maxArchiveEntries is the number of entries of a tar.
	maxArchiveEntries = 1024
	// maxArchiveSlack is how much of an unpacked tar may be something else than the module.
	maxArchiveSlack = 16 << 20
)

// pullPacked fetches the layer, verifies it, and only then unpacks the module into the cache. A link from the layer to the
// module spares the download next time.
func (c *Client) pullPacked(ctx context.Context, a Artifact, progress Progress) (Descriptor, string, error) {
	if d, ok := c.cache.link(a.Layer.Digest); ok {
		if p, err := c.cache.Path(d.Digest); err == nil {
			return d, p, nil
		}
	}
	packed, err := c.fetch(ctx, a.Reference, a.Layer, progress)
	if err != nil {
		return Descriptor{}, "", err
	}
	f, err := os.Open(packed)
	if err != nil {
		return Descriptor{}, "", c.cache.storageError("open a layer", err)
	}
	defer f.Close()
	r, err := openArchive(f, c.maxModule)
	if err != nil {
		return Descriptor{}, "", withSubject(err, "pull", a.Reference.String())
	}
	module, file, err := c.cache.put(ctx, "pull", a.Reference.String(), Descriptor{}, c.maxModule, r, nil)
	if err != nil {
		return Descriptor{}, "", withSubject(err, "pull", a.Reference.String())
	}
	if err := c.cache.setLink(a.Layer.Digest, module); err != nil {
		return Descriptor{}, "", err
	}
	// The module is what counts; the layer would only take room.
	if _, err := c.cache.Remove(a.Layer.Digest); err != nil {
		return Descriptor{}, "", err
	}
	return module, file, nil
}

// archiveReader gives the bytes of the one module in a gzipped tar. It reads the archive to its end before it gives io.EOF,
// so that an archive that is bad further on gives an error, too.
type archiveReader struct {
	tar     *tar.Reader
	entries int
	done    bool
}

// openArchive finds plugin.wasm in a gzipped tar. Paths that are absolute or go up, links and devices, and a second candidate
// are errors, and so is an archive that unpacks to more than limit and some slack.
func openArchive(r io.Reader, limit int64) (io.Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, invalidArchive("not gzip: %v", err)
	}
	a := &archiveReader{tar: tar.NewReader(&cappedReader{r: gz, left: limit + maxArchiveSlack, limit: limit})}
	found, err := a.next()
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, invalidArchive("it holds no %s", filePlugin)
	}
	return a, nil
}

func (a *archiveReader) Read(p []byte) (int, error) {
	if a.done {
		return 0, io.EOF
	}
	n, err := a.tar.Read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		return n, archiveError(err)
	}
	again, err := a.next()
	if err != nil {
		return n, err
	}
	if again {
		return n, invalidArchive("it holds two candidates called %s", filePlugin)
	}
	a.done = true
	return n, io.EOF
}

// next goes to the next candidate and says whether there is one.
func (a *archiveReader) next() (bool, error) {
	for {
		h, err := a.tar.Next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, archiveError(err)
		}
		if a.entries++; a.entries > maxArchiveEntries {
			return false, invalidArchive("more than %d entries", maxArchiveEntries)
		}
		if path.IsAbs(h.Name) || strings.Contains(h.Name, "\\") || escapes(h.Name) {
			return false, invalidArchive("entry %s is outside the archive", quote(h.Name))
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if path.Base(h.Name) == filePlugin {
				return true, nil
			}
		case tar.TypeDir, tar.TypeXGlobalHeader:
		default:
			return false, invalidArchive("entry %s is a link or a device", quote(h.Name))
		}
	}
}

func escapes(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// cappedReader ends with an error where io.LimitedReader would end in silence.
type cappedReader struct {
	r           io.Reader
	left, limit int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		var one [1]byte
		if n, err := c.r.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("the archive unpacks to more than %d bytes", c.limit), Next: "check that the reference names a filter"}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func archiveError(err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return invalidArchive("%v", err)
}

func invalidArchive(format string, args ...any) error {
	return &Error{Kind: ErrInvalidArchive, Detail: fmt.Sprintf(format, args...), Next: "publish the artifact again, or in another layout"}
}

// link tells which module a packed layer holds, if that is known. It is a hint: the module is verified when it is used.
func (c *Cache) link(layer Digest) (Descriptor, bool) {
	const maxLinkBytes = 1 << 10
	f, err := os.Open(filepath.Join(c.linksDir(), layer.Hex()))
	if err != nil {
		return Descriptor{}, false
	}
	defer f.Close()
	var d Descriptor
	if json.NewDecoder(io.LimitReader(f, maxLinkBytes)).Decode(&d) != nil || !d.Digest.Valid() {
		return Descriptor{}, false
	}
	return d, true
}

func (c *Cache) setLink(layer Digest, module Descriptor) error {
	data, err := json.Marshal(module)
	if err != nil {
		return c.storageError("write a link", err)
	}
	if err := c.writeSmall(filepath.Join(c.linksDir(), layer.Hex()), data); err != nil {
		return c.storageError("write a link", err)
	}
	return nil
}
