package agent

import (
	"errors"

	"github.com/waft-project/waft/distributor/sealed"
)

// sealedLimit is how large a file of the state folder may be, when it is read and when it is written.
const sealedLimit = 64 << 20

// writeSealed is sealed.Write.
func writeSealed[T any](path string, content T) error {
	return sealed.Write(path, sealedLimit, content)
}

// readSealed reads the file at path into content, or the copy before it when the file is damaged or gone. It reports where
// the content came from: path, path.previous, or the empty string when there is neither. An error means that what is there cannot be
// used; content is then untouched.
func readSealed[T any](path string, content *T) (from string, err error) {
	from, damaged, err := sealed.Read(path, sealedLimit, content)
	if from != "" {
		return from, nil
	}
	return "", errors.Join(damaged, err)
}

// readBounded is sealed.ReadFile.
func readBounded(path string) ([]byte, error) { return sealed.ReadFile(path, sealedLimit) }
