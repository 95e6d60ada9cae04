package certfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// lookEvery is how often files are looked at, at the most.
	lookEvery = time.Second
	// maxFileBytes bounds a file; a bundle of all public authorities has some 200 KiB.
	maxFileBytes = 4 << 20
)

// errChanging is of files that were written while they were read.
var errChanging = errors.New("the files changed while they were read")

// watched is what some files hold. It may be used concurrently.
type watched[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)
	told  func(error)

	mu     sync.Mutex
	value  T
	looked time.Time
	// seen are the files as they were when they were looked at last, bad what was wrong with them (nil: value is of them), and said: it was told.
	seen []fs.FileInfo
	bad  error
	said bool
}

// watch reads the files for the first time. told is called with what is wrong with them later, once for each state that they stay in for longer than a look, and
// with nil when they were taken.
func watch[T any](parse func([][]byte) (T, error), told func(error), paths ...string) (*watched[T], error) {
	w := &watched[T]{paths: paths, parse: parse, told: told}
	seen, err := w.stat()
	if err == nil {
		w.value, err = w.read(seen)
	}
	if err != nil {
		return nil, err
	}
	w.seen, w.looked = seen, time.Now()
	return w, nil
}

// now is what the files hold, or held when they could last be used.
func (w *watched[T]) now() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) >= lookEvery {
		w.look()
		w.looked = time.Now()
	}
	return w.value
}

func (w *watched[T]) look() {
	seen, err := w.stat()
	if same(seen, w.seen) && (err == nil) == (len(w.seen) > 0) {
		// A pair of which one file is written is another one at the next look.
		if w.bad != nil && !w.said {
			w.said = true
			w.told(w.bad)
		}
		return
	}
	var value T
	if err == nil {
		value, err = w.read(seen)
	}
	if errors.Is(err, errChanging) {
		return // what they are now is seen at the next look
	}
	w.seen, w.bad, w.said = seen, err, false
	if err == nil {
		w.value = value
		w.told(nil)
	}
}

// stat is nil with an error.
func (w *watched[T]) stat() ([]fs.FileInfo, error) {
	infos := make([]fs.FileInfo, 0, len(w.paths))
	for _, path := range w.paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// read reads the files, which must still be those that were seen when they have been read.
func (w *watched[T]) read(seen []fs.FileInfo) (T, error) {
	var none T
	contents := make([][]byte, 0, len(w.paths))
	for _, path := range w.paths {
		content, err := readFile(path)
		if err != nil {
			return none, err
		}
		contents = append(contents, content)
	}
	if after, err := w.stat(); err != nil || !same(after, seen) {
		return none, fmt.Errorf("%w: %v", errChanging, w.paths)
	}
	return w.parse(contents)
}

func same(a, b []fs.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() {
			return false
		}
	}
	return true
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(content) > maxFileBytes {
		err = fmt.Errorf("%s is larger than the %d bytes that are read", path, maxFileBytes)
	}
	return content, err
}
