package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// Limits of sealed files.
const (
	// sealedLimit is how large one may be, when it is read and when it is written.
	sealedLimit = 64 << 20
	// sealedFormat is raised when an older agent could not read a file. Fields may be added without.
	sealedFormat = 1
	// previousSuffix names the copy of the file before the last write.
	previousSuffix = ".previous"
)

// errTooLarge means that a content cannot be sealed: what was written could not be read again.
var errTooLarge = errors.New("too large to be kept")

// errTorn means that a file is not what was written: cut off, changed, or of a later format.
var errTorn = errors.New("file is damaged")

// sealed is a JSON document with a checksum of its content.
type sealed struct {
	Format   int             `json:"format"`
	Checksum string          `json:"checksum"`
	Content  json.RawMessage `json:"content"`
}

// writeSealed replaces the file at path, and keeps what was there as path.previous. A reader finds the old content or the
// new, whenever the machine stops. What readSealed would not take is refused, with errTooLarge, and what is there stays.
func writeSealed(path string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	document, err := json.Marshal(sealed{Format: sealedFormat, Checksum: model.Digest(raw), Content: raw})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if document = append(document, '\n'); len(document) > sealedLimit {
		return fmt.Errorf("write %s: %w: %d bytes, more than %d; have this node run smaller configurations", path, errTooLarge, len(document), sealedLimit)
	}
	// What is there may itself be damaged; it must not take the place of a sound copy.
	if current, err := readBounded(path); err == nil && unseal(current, nil) == nil {
		if err := envoy.ReplaceFile(path+previousSuffix, current); err != nil {
			return err
		}
	}
	return envoy.ReplaceFile(path, document)
}

// readSealed reads the file at path into content, or the copy before it when the file is damaged or gone. It reports where
// the content came from: path, path.previous, or the empty string when there is neither. An error means that what is there cannot be
// used; content is then untouched.
func readSealed(path string, content any) (from string, err error) {
	for _, candidate := range []string{path, path + previousSuffix} {
		document, readErr := readBounded(candidate)
		if readErr == nil {
			readErr = unseal(document, content)
		}
		if readErr == nil {
			return candidate, nil
		}
		if !errors.Is(readErr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("read %s: %w", candidate, readErr))
		}
	}
	return "", err
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	document, err := io.ReadAll(io.LimitReader(file, sealedLimit+1))
	if err == nil && len(document) > sealedLimit {
		err = fmt.Errorf("%w: larger than %d bytes", errTorn, sealedLimit)
	}
	return document, err
}

// unseal checks a document and decodes its content; nil content only checks.
func unseal(document []byte, content any) error {
	var s sealed
	if err := json.Unmarshal(document, &s); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	if s.Format > sealedFormat {
		return fmt.Errorf("%w: format %d is later than this agent's, %d", errTorn, s.Format, sealedFormat)
	}
	// The checksum is of the content as it was marshalled: without white space around or in it.
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.Content); err != nil || model.Digest(compact.Bytes()) != s.Checksum {
		return fmt.Errorf("%w: its checksum does not fit", errTorn)
	}
	if content == nil {
		return nil
	}
	if err := json.Unmarshal(s.Content, content); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	return nil
}
