//go:build unix

package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockFolder takes the lock of a state folder; closing it, or the process's end, gives it back.
func lockFolder(path string) (io.Closer, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, fmt.Errorf("%w: %s (%w); stop it, or name another folder", ErrLocked, path, err)
	}
	return folderLock{lock}, nil
}

// folderLock is a lock that is given back in so many words: a program that the application is starting meanwhile has the file, too, until it is there, and would keep it.
type folderLock struct{ *os.File }

func (l folderLock) Close() error {
	return errors.Join(syscall.Flock(int(l.Fd()), syscall.LOCK_UN), l.File.Close())
}
