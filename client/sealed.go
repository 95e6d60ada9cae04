package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/distributor/model"
)

const (
	// sealedFormat is raised when an older client could not read the record. Fields may be added without.
	sealedFormat = 1
	// previousSuffix names the copy of a file before its last write.
	previousSuffix = ".previous"
)

// errTorn means that a file is not what was written: cut off, changed, or of a later format.
var errTorn = errors.New("file is damaged")

// sealed is a JSON document with a checksum of its content.
type sealed struct {
	Format   int             `json:"format"`
	Checksum string          `json:"checksum"`
	Content  json.RawMessage `json:"content"`
}

// writeSealed replaces the file at path, and keeps what was there as path.previous, unless that is damaged.
func writeSealed[T any](path string, content T) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	document, err := json.Marshal(sealed{Format: sealedFormat, Checksum: model.Digest(raw), Content: raw})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if before, err := readBounded(path); err == nil && unseal(before, new(T)) == nil {
		if err := replaceFile(path+previousSuffix, before); err != nil {
			return err
		}
	}
	return replaceFile(path, append(document, '\n'))
}

// readSealed reads the file at path into content, or the copy before it. damaged says what could not be read and was passed over; content is untouched when there is
// nothing. err is that nothing could be read, and that this may be otherwise at another time: what is written now would take the place of what is there.
func readSealed[T any](path string, content *T) (damaged, err error) {
	var unread error
	for _, candidate := range []string{path, path + previousSuffix} {
		var read T // whole, or not at all
		document, err := readBounded(candidate)
		if err == nil {
			err = unseal(document, &read)
		}
		switch {
		case err == nil:
			*content = read
			return errors.Join(damaged, unread), nil
		case errors.Is(err, os.ErrNotExist):
		case errors.Is(err, errTorn):
			damaged = errors.Join(damaged, fmt.Errorf("read %s: %w", candidate, err))
		default:
			unread = errors.Join(unread, fmt.Errorf("read %s: %w", candidate, err))
		}
	}
	return damaged, unread
}

// unseal checks a document and decodes its content, of which a part may be there after an error.
func unseal(document []byte, content any) error {
	var s sealed
	if err := json.Unmarshal(document, &s); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	if s.Format > sealedFormat {
		return fmt.Errorf("%w: format %d is later than this client's, %d", errTorn, s.Format, sealedFormat)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.Content); err != nil || model.Digest(compact.Bytes()) != s.Checksum {
		return fmt.Errorf("%w: its checksum does not fit", errTorn)
	}
	if err := json.Unmarshal(s.Content, content); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	return nil
}

// readBounded reads a file of at most maxFileBytes.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(content) > maxFileBytes {
		err = fmt.Errorf("%w: larger than %d bytes", errTorn, maxFileBytes)
	}
	return content, err
}

// replaceFile replaces the file at path by rename: a reader, and whoever comes after the machine has stopped, finds the old content or the new.
func replaceFile(path string, content []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), temporaryPrefix+"*")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name()) // the first error is the one that tells
		}
	}()
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := flushFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("flush the folder of %s: %w", path, err)
	}
	return nil
}
