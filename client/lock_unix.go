//go:build unix

package client

import (
	"fmt"
	"os"
	"syscall"
)

// lockFolder takes the lock of a state folder; unlockFolder, or the process's end, gives it back.
func lockFolder(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, fmt.Errorf("%w: %s (%w); stop it, or name another folder", ErrLocked, path, err)
	}
	return lock, nil
}

// unlockFolder gives it back. To close the file is not enough: a program that the application is starting meanwhile has it, too, until it is there.
func unlockFolder(lock *os.File) error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_UN) }
