package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// watchInterval is how often a policy's file is looked at.
const watchInterval = time.Second

// File is a policy in a file that may change while it is in use. It may be used concurrently.
type File struct {
	path    string
	current atomic.Pointer[Policy]

	mu sync.Mutex // one reads the file at a time
	// seen is the content that was read last, good or bad, and err what was wrong with it.
	seen [sha256.Size]byte
	err  error
}

// Open reads a policy's file. Errors are those of the file, and of Parse.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Policy is the policy now. It is another one, by its address, after each change.
func (f *File) Policy() *Policy { return f.current.Load() }

// Path of the file.
func (f *File) Path() string { return f.path }

// Reload reads the file anew, and says whether the policy has changed. On an error it stays what it was.
func (f *File) Reload() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, err := readPolicy(f.path)
	if err != nil {
		return false, err
	}
	digest := sha256.Sum256(content)
	if digest == f.seen {
		return false, f.err
	}
	policy, err := Parse(content)
	if told, ok := errors.AsType[*model.Error](err); ok {
		told.Object = f.path
	}
	f.seen, f.err = digest, err
	if err != nil {
		return false, err
	}
	f.current.Store(policy)
	return true, nil
}

// Watch reads the file whenever it has changed, until ctx ends. Told is called after each change, and once for each error in a row, by
// which the policy stays what it was. It is called from one goroutine.
func (f *File) Watch(ctx context.Context, told func(*Policy, error)) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	seen, trouble := f.Policy(), ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := f.Reload(); err != nil {
			if trouble != err.Error() {
				trouble = err.Error()
				told(nil, err)
			}
			continue
		}
		trouble = ""
		// Another caller may have read it already; its change is told here all the same.
		if policy := f.Policy(); policy != seen {
			seen = policy
			told(policy, nil)
		}
	}
}

// readPolicy reads a policy's text, no more of it than is needed to see that it is too long.
func readPolicy(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxPolicyBytes+1))
}
