package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Parts takes what a backup holds, in its order. An error of either ends the reading, and is Read's.
type Parts struct {
	Key func(key string, value []byte) error
	// File is given a path with slashes that stays below the data folder, and reads all of the content.
	File func(path string, size int64, content io.Reader) error
}

// Read reads a backup to its end. Whoever keeps what Parts was given throws it away after an error: only the end says that all of it is as it was written.
// model.ErrInvalid is what is no backup, a damaged one, or one of a newer format.
func Read(r io.Reader, parts Parts) (Header, End, error) {
	b := &reader{tar: tar.NewReader(bufio.NewReaderSize(r, 1<<20)), parts: parts, total: total{sum: sha256.New()}}
	h, err := b.header()
	if err != nil {
		return Header{}, End{}, err
	}
	for {
		e, err := b.tar.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return h, End{}, damaged("it ends before its end: it was cut short after %d keys and %d files", b.total.Keys, b.total.Files)
		}
		if err != nil {
			return h, End{}, damaged("it cannot be read: %v", err)
		}
		switch {
		case e.Typeflag != tar.TypeReg || sparse(e):
			return h, End{}, damaged("%.255q is no file in it", e.Name)
		case strings.HasPrefix(e.Name, statePart) && b.total.Files == 0:
			err = b.state(e)
		case strings.HasPrefix(e.Name, filePart):
			err = b.file(e)
		case e.Name == endName:
			end, err := b.end(e)
			return h, end, err
		default:
			err = damaged("%.255q has no place in it", e.Name)
		}
		if err != nil {
			return h, End{}, err
		}
	}
}

// sparse says whether a file is one with holes, which a few bytes can make as large as any disk. A Writer makes none.
func sparse(e *tar.Header) bool {
	for name := range e.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

type reader struct {
	tar   *tar.Reader
	parts Parts
	total total
}

func (b *reader) header() (h Header, err error) {
	e, err := b.tar.Next()
	if err != nil || e.Name != headerName || e.Typeflag != tar.TypeReg || sparse(e) {
		return h, damaged("it is not what waft backup writes")
	}
	if err := b.json(e, &h); err != nil {
		return h, err
	}
	if h.Format < 1 || h.Format > Format {
		return h, damaged("it has format %d, written by waft %.64s; this one reads formats up to %d", h.Format, h.Version, Format)
	}
	return h, nil
}

func (b *reader) json(e *tar.Header, to any) error {
	if e.Size > maxHeaderBytes {
		return damaged("%s has %d bytes", e.Name, e.Size)
	}
	text, err := io.ReadAll(b.tar)
	if err != nil {
		return damaged("%s cannot be read: %v", e.Name, err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return damaged("%s: %v", e.Name, err)
	}
	return nil
}

func (b *reader) state(e *tar.Header) error {
	if e.Size > maxChunkBytes {
		return damaged("%.255s has %d bytes, more than %d", e.Name, e.Size, maxChunkBytes)
	}
	text, err := io.ReadAll(b.tar)
	if err != nil {
		return damaged("%.255s cannot be read: %v", e.Name, err)
	}
	for line := range bytes.Lines(text) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return damaged("%.255s: %v", e.Name, err)
		}
		b.total.key(r.Key, r.Value)
		if err := b.parts.Key(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}

func (b *reader) file(e *tar.Header) error {
	name := strings.TrimPrefix(e.Name, filePart)
	if name == "" || len(name) > maxPath || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsAny(name, "\\\x00") {
		return damaged("%.255q is no path of a data folder", name)
	}
	b.total.Files++
	b.total.add(e.Name, e.Size)
	content := &counted{r: io.TeeReader(b.tar, b.total.sum)}
	if err := b.parts.File(name, e.Size, content); err != nil {
		return err
	}
	if content.n != e.Size {
		return damaged("%.255s has %d bytes, %d were read", e.Name, e.Size, content.n)
	}
	return nil
}

func (b *reader) end(e *tar.Header) (End, error) {
	var said End
	if err := b.json(e, &said); err != nil {
		return End{}, err
	}
	if is := b.total.end(); is != said {
		return End{}, damaged("it holds %d keys and %d files of %d bytes, sha256 %s, and its end says %d, %d, %d and %.64s: it is damaged",
			is.Keys, is.Files, is.Bytes, is.Sum, said.Keys, said.Files, said.Bytes, said.Sum)
	}
	return said, nil
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

// Read is io.Reader's. A file that is cut short is the backup's fault, and not of whoever writes it.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged("a file in it cannot be read: %v", err)
	}
	return n, err
}

// String is a summary for people.
func (e End) String() string {
	return fmt.Sprintf("%d keys and %d files, %d bytes", e.Keys, e.Files, e.Bytes)
}
