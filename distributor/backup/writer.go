package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Writer writes a backup: keys first, then files, then Close. After an error it is of no use. It is for one goroutine.
type Writer struct {
	tar    *tar.Writer
	made   time.Time
	chunk  bytes.Buffer
	chunks int
	total  total
}

// NewWriter begins a backup.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	h.Format = Format
	b := &Writer{tar: tar.NewWriter(w), made: h.Made, total: total{sum: sha256.New()}}
	return b, b.json(headerName, h)
}

// Key adds a key of the store. All keys come before all files.
func (b *Writer) Key(key string, value []byte) error {
	if b.total.Files > 0 {
		return fmt.Errorf("key %q comes after files", key)
	}
	line, err := json.Marshal(record{key, value})
	if err != nil {
		return err
	}
	if b.chunk.Len() > 0 && b.chunk.Len()+len(line)+1 > chunkBytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.total.key(key, value)
	b.chunk.Write(line)
	b.chunk.WriteByte('\n')
	return nil
}

// flush writes the part of the state that is gathered.
func (b *Writer) flush() error {
	if b.chunk.Len() == 0 {
		return nil
	}
	b.chunks++
	err := b.entry(fmt.Sprintf("%s%08d", statePart, b.chunks), int64(b.chunk.Len()), &b.chunk)
	b.chunk.Reset()
	return err
}

// File adds a file by its path in the data folder, with slashes. A content of another size is an error.
func (b *Writer) File(path string, size int64, content io.Reader) error {
	if err := b.flush(); err != nil {
		return err
	}
	b.total.Files++
	b.total.add(filePart+path, size)
	return b.entry(filePart+path, size, io.TeeReader(content, b.total.sum))
}

// Close ends the backup, and says what is in it. It does not close the writer below.
func (b *Writer) Close() (End, error) {
	if err := b.flush(); err != nil {
		return End{}, err
	}
	end := b.total.end()
	if err := b.json(endName, end); err != nil {
		return End{}, err
	}
	return end, b.tar.Close()
}

func (b *Writer) json(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.entry(name, int64(len(text)), bytes.NewReader(text))
}

func (b *Writer) entry(name string, size int64, content io.Reader) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: b.made, Format: tar.FormatPAX}); err != nil {
		return err
	}
	n, err := io.Copy(b.tar, io.LimitReader(content, size))
	if err == nil && n < size {
		err = fmt.Errorf("%s has %d bytes and not %d any more", name, n, size)
	}
	return err
}
