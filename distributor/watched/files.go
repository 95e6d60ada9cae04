// Package watched reads files that may change while they are in use: certificates, the windows in which nothing moves. There is no loop and no goroutine: who asks has
// the files looked at. What cannot be used leaves in place what was read before, and is told once.
//
// It imports the standard library only.
package watched

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// maxFileBytes bounds a file; a bundle of all public authorities has some 200 KiB.
const maxFileBytes = 4 << 20

// errChanging is of files that were written while they were read.
var errChanging = errors.New("the files changed while they were read")

// Files is what some files hold. It may be used concurrently.
type Files[T any] struct {
	paths []string
	every time.Duration
	parse func(contents [][]byte) (T, error)
	told  func(T, error)

	mu     sync.Mutex
	value  T
	looked time.Time
	// seen are the files as they were when they were looked at last, bad what was wrong with them (nil: value is of them), and said: it was told.
	seen []fs.FileInfo
	bad  error
	said bool
}

// Open reads the files for the first time. They are looked at when somebody asks, at most once in every (zero: each time). told is called with what is wrong with them
// later, once for each state that they stay in for longer than a look, and what holds meanwhile; and with what they hold when they were taken. Who asks calls it, one at a time;
// it must not ask.
func Open[T any](every time.Duration, parse func(contents [][]byte) (T, error), told func(value T, err error), paths ...string) (*Files[T], error) {
	w := &Files[T]{paths: paths, every: every, parse: parse, told: told}
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

// Now is what the files hold, or held when they could last be used.
func (w *Files[T]) Now() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) >= w.every {
		w.look()
		w.looked = time.Now()
	}
	return w.value
}

func (w *Files[T]) look() {
	seen, err := w.stat()
	if same(seen, w.seen) && (err == nil) == (len(w.seen) > 0) {
		// A pair of which one file is written is another one at the next look.
		if w.bad != nil && !w.said {
			w.said = true
			w.told(w.value, w.bad)
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
		w.told(value, nil)
	}
}

// stat is nil with an error.
func (w *Files[T]) stat() ([]fs.FileInfo, error) {
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
func (w *Files[T]) read(seen []fs.FileInfo) (T, error) {
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
