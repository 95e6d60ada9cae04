package registry

import (
	"archive/tar"
	"bufio"
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

	"github.com/klauspost/compress/zstd"
)

// Limits on an archive, beside that on the module in it.
const (
	// maxArchiveEntries is the number of entries of a tar.
	maxArchiveEntries = 1024
	// maxArchiveSlack is how much of an unpacked tar may be something else than the module.
	maxArchiveSlack = 16 << 20
)

// Why an archive is refused, beside the kind (ErrInvalidArchive, or ErrTooLarge for the last): both are in the error's chain.
var (
	// ErrArchivePath: an entry has an absolute path, or one that leads up or out.
	ErrArchivePath = errors.New("path outside the archive")
	// ErrArchiveLink: an entry is a link, a device or something else that is neither file nor folder.
	ErrArchiveLink = errors.New("link in an archive")
	// ErrArchiveCandidates: there are several modules, and readers would disagree which is meant.
	ErrArchiveCandidates = errors.New("two modules in an archive")
	// ErrArchiveNoModule: there is none.
	ErrArchiveNoModule = errors.New("no module in the archive")
	// ErrArchiveBomb: it unpacks to more than it may, in bytes, in entries, or in the memory that unpacking takes.
	ErrArchiveBomb = errors.New("decompression bomb")
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
	if err == nil {
		defer r.Close()
	}
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

// mediaTypeOCITarZstd is compat's layer packed with zstd. Istio and Envoy Gateway read gzip alone; containerd and buildkit write this
// one when they are told to.
const mediaTypeOCITarZstd = "application/vnd.oci.image.layer.v1.tar+zstd"

// maxZstdWindow bounds the memory that unpacking zstd takes: the frame says how much it wants, and anyone can have written it.
// RFC 8878 asks readers for at least 8 MiB.
const maxZstdWindow = 8 << 20

// archiveReader gives the bytes of the one module in a packed tar. It reads the archive to its end before it gives io.EOF,
// so that an archive that is bad further on gives an error, too.
type archiveReader struct {
	tar     *tar.Reader
	entries int
	done    bool
	close   func()
}

// Close gives back what unpacking took.
func (a *archiveReader) Close() { a.close() }

// openArchive finds plugin.wasm in a tar that is packed with gzip or zstd, whatever its media type says. Paths that are
// absolute or go up, links and devices, and a second candidate are errors, and so is an archive that unpacks to more than
// limit and some slack.
func openArchive(r io.Reader, limit int64) (*archiveReader, error) {
	unpacked, closeUnpacked, err := unpack(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	a := &archiveReader{tar: tar.NewReader(&cappedReader{r: unpacked, left: limit + maxArchiveSlack, limit: limit}), close: closeUnpacked}
	found, err := a.next()
	if err == nil && !found {
		err = refusedArchive(ErrArchiveNoModule, "it holds no %s", filePlugin)
	}
	if err != nil {
		closeUnpacked()
		return nil, err
	}
	return a, nil
}

// unpack tells by its first bytes how a layer is packed.
func unpack(r *bufio.Reader) (io.Reader, func(), error) {
	const zstdMagic = "\x28\xb5\x2f\xfd"
	head, _ := r.Peek(len(zstdMagic)) // a short layer is not gzip either
	if string(head) != zstdMagic {
		gz, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, invalidArchive("neither gzip nor zstd: %v", err)
		}
		return gz, func() {}, nil
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, nil, invalidArchive("zstd: %v", err)
	}
	return z, z.Close, nil
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
		return n, refusedArchive(ErrArchiveCandidates, "it holds two candidates called %s", filePlugin)
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
			return false, refusedArchive(ErrArchiveBomb, "more than %d entries", maxArchiveEntries)
		}
		if path.IsAbs(h.Name) || strings.Contains(h.Name, "\\") || escapes(h.Name) {
			return false, refusedArchive(ErrArchivePath, "entry %s is outside the archive", quote(h.Name))
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if path.Base(h.Name) == filePlugin {
				return true, nil
			}
		case tar.TypeDir, tar.TypeXGlobalHeader:
		default:
			return false, refusedArchive(ErrArchiveLink, "entry %s is a link or a device", quote(h.Name))
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
		return 0, &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("the archive unpacks to more than %d bytes", c.limit), Next: "check that the reference names a filter", Err: ErrArchiveBomb}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func archiveError(err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("unpacking it takes more than %d bytes of memory", maxZstdWindow), Next: "pack it with a smaller window", Err: ErrArchiveBomb}
	}
	return invalidArchive("%v", err)
}

// refusedArchive is invalidArchive with the reason as an error.
func refusedArchive(why error, format string, args ...any) error {
	return &Error{Kind: ErrInvalidArchive, Detail: fmt.Sprintf(format, args...), Next: "publish the artifact again, or in another layout", Err: why}
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
