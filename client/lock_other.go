//go:build !unix

package client

import (
	"fmt"
	"io"
	"os"
)

// lockFolder opens the lock of a state folder, and keeps nobody else from it: not to share the folder is up to the application here.
func lockFolder(path string) (io.Closer, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	return lock, nil
}
