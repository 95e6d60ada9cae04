package trust

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waft-project/waft/registry"
)

// watchInterval is how often a policy's file is looked at.
const watchInterval = time.Second

// File is a policy in a file that may change while it is in use. It may be used concurrently.
type File struct {
	path    string
	current atomic.Pointer[loaded]

	mu sync.Mutex // one reads the file at a time
	// bad is the text that could not be used last, so that one bad file is said to be bad once.
	bad registry.Digest
}

// loaded is a policy, and the digest of its text.
type loaded struct {
	policy *Policy
	digest registry.Digest
}

// Open reads a policy's file. Errors are those of the file, and ErrInvalidPolicy.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Policy is the policy now, and an identity of it: the digest of the file's text.
func (f *File) Policy() (*Policy, registry.Digest) {
	l := f.current.Load()
	return l.policy, l.digest
}

// Path of the file.
func (f *File) Path() string { return f.path }

// Reload reads the file anew, and says whether it has changed. On an error the policy stays what it was.
func (f *File) Reload() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := readPolicy(f.path)
	if err != nil {
		return false, err
	}
	digest := registry.DigestOf(text)
	if was := f.current.Load(); was != nil && was.digest == digest {
		f.bad = ""
		return false, nil
	}
	policy, err := Parse(text)
	if err != nil {
		f.bad = digest
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	f.current.Store(&loaded{policy, digest})
	f.bad = ""
	return true, nil
}

// Watch reads the file whenever it has changed, until ctx ends. Told is called after each change, and for each text that cannot be used, with
// the error; the policy stays what it was then. It is called from one goroutine.
func (f *File) Watch(ctx context.Context, told func(*Policy, error)) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	_, seen := f.Policy()
	away := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text, err := readPolicy(f.path)
		if err != nil {
			if away != err.Error() {
				away = err.Error()
				told(nil, err)
			}
			continue
		}
		away = ""
		if f.isBad(registry.DigestOf(text)) {
			continue
		}
		// Another caller may have read it already; its change is told here all the same.
		if _, err := f.Reload(); err != nil {
			told(nil, err)
			continue
		}
		if policy, now := f.Policy(); now != seen {
			seen = now
			told(policy, nil)
		}
	}
}

func (f *File) isBad(digest registry.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bad == digest
}

// readPolicy reads a policy's text, no more of it than one may have.
func readPolicy(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxPolicyBytes+1))
}
