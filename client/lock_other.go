//go:build !unix

package client

import (
	"fmt"
	"os"
)

// lockFolder opens the lock of a state folder, and keeps nobody else from it: not to share the folder is up to the application here.
func lockFolder(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	return lock, nil
}

func unlockFolder(*os.File) error { return nil }
