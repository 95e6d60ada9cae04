// Package sealed keeps JSON documents on disk by which a sink starts without its distributor: with a checksum, the one before beside the latest, and each written whole
// or not at all. It imports model and wholefile.
package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/wholefile"
)

const (
	// format is raised when an older program could not read a file. Fields may be added without.
	format = 1
	// PreviousSuffix names the copy of a file before its last write.
	PreviousSuffix = ".previous"
)

var (
	// ErrTorn means that a file is not what was written: cut off, changed, or of a later format.
	ErrTorn = errors.New("file is damaged")
	// ErrTooLarge means that a content cannot be sealed: what was written could not be read again.
	ErrTooLarge = errors.New("too large to be kept")
)

// document is a content with a checksum.
type document struct {
	Format   int             `json:"format"`
	Checksum string          `json:"checksum"`
	Content  json.RawMessage `json:"content"`
}

// Write replaces the file at path, and keeps what was there as path.previous, unless that cannot be read as such a content: it must not take the place of a copy that can.
// What Read would not take for its size, of more than most bytes, is refused, with ErrTooLarge, and what is there stays.
func Write[T any](path string, most int, content T) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	text, err := json.Marshal(document{Format: format, Checksum: model.Digest(raw), Content: raw})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if text = append(text, '\n'); len(text) > most {
		return fmt.Errorf("write %s: %w: %d bytes, more than %d; have this node run smaller configurations", path, ErrTooLarge, len(text), most)
	}
	if before, err := ReadFile(path, most); err == nil && unseal(before, new(T)) == nil {
		if err := wholefile.Replace(path+PreviousSuffix, before); err != nil {
			return err
		}
	}
	return wholefile.Replace(path, text)
}

// Read reads the file at path into content, or the copy before it, of at most most bytes each, and says from which: path, path.previous, or the empty string where there
// is neither; content is untouched then. damaged says what could not be read and was passed over. err is that nothing could be read, and that this may be otherwise at
// another time: what is written now would take the place of what is there.
func Read[T any](path string, most int, content *T) (from string, damaged, err error) {
	var unread error
	for _, candidate := range []string{path, path + PreviousSuffix} {
		var read T // whole, or not at all
		text, err := ReadFile(candidate, most)
		if err == nil {
			err = unseal(text, &read)
		}
		switch {
		case err == nil:
			*content = read
			return candidate, errors.Join(damaged, unread), nil
		case errors.Is(err, os.ErrNotExist):
		case errors.Is(err, ErrTorn):
			damaged = errors.Join(damaged, fmt.Errorf("read %s: %w", candidate, err))
		default:
			unread = errors.Join(unread, fmt.Errorf("read %s: %w", candidate, err))
		}
	}
	return "", damaged, unread
}

// ReadFile reads a file of at most most bytes; a larger one is ErrTorn.
func ReadFile(path string, most int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	content, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(content) > most {
		err = fmt.Errorf("%w: larger than %d bytes", ErrTorn, most)
	}
	return content, err
}

// unseal checks a document and decodes its content, of which a part may be there after an error.
func unseal(text []byte, content any) error {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	if d.Format > format {
		return fmt.Errorf("%w: format %d is later than this program's, %d", ErrTorn, d.Format, format)
	}
	// The checksum is of the content as it was marshalled: without white space around or in it.
	var compact bytes.Buffer
	if err := json.Compact(&compact, d.Content); err != nil || model.Digest(compact.Bytes()) != d.Checksum {
		return fmt.Errorf("%w: its checksum does not fit", ErrTorn)
	}
	if err := json.Unmarshal(d.Content, content); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return nil
}
