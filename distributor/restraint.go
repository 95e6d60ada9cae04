package distributor

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// gateReader asks for gates whose answer is elsewhere; nil where nobody may be asked.
func (c Config) gateReader() (service.Gates, error) {
	if len(c.GateHosts) == 0 {
		return nil, nil
	}
	reader, err := gates.New(c.GateHosts)
	if err != nil {
		return nil, model.Invalidf("", "gate-host", "write HOST, HOST:PORT or HOST/PATH", "%v", err)
	}
	return reader, nil
}

// freezeFile is the file with the distributor's freeze windows. It may be used concurrently.
type freezeFile struct {
	path string
	log  *slog.Logger

	mu sync.Mutex
	// seen is the file that list is of, told the one that the log was told cannot be read.
	seen, told fileMark
	lost       bool
	list       []model.FreezeWindow
}

// fileMark is by what a change of a file is known.
type fileMark struct {
	modified time.Time
	size     int64
}

// newFreezeFile reads the file; a path that is empty gives one without windows.
func newFreezeFile(path string, log *slog.Logger) (*freezeFile, error) {
	f := &freezeFile{path: path, log: log}
	if path == "" {
		return f, nil
	}
	info, err := os.Stat(path)
	if err == nil {
		f.list, err = readFreeze(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the freeze windows: %w", err)
	}
	f.seen = markOf(info)
	return f, nil
}

func markOf(info fs.FileInfo) fileMark { return fileMark{modified: info.ModTime(), size: info.Size()} }

// windows are those of the file as it is now, or as it was when it could be read: a file that is broken must not thaw the fleet.
func (f *freezeFile) windows() []model.FreezeWindow {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	mark := fileMark{}
	if err == nil {
		mark = markOf(info)
	}
	if mark == f.seen {
		return f.list
	}
	if err == nil {
		var list []model.FreezeWindow
		if list, err = readFreeze(f.path); err == nil {
			f.list, f.seen, f.lost = list, mark, false
			f.log.Info("freeze windows were read again", "file", f.path, "windows", len(list))
			return f.list
		}
	}
	if mark == f.told && f.lost {
		return f.list
	}
	f.told, f.lost = mark, true // each state of the file is told once
	f.log.Error("freeze windows could not be read; those from before hold", "file", f.path, "windows", len(f.list), "error", err)
	return f.list
}

// readFreeze reads a file of windows.
func readFreeze(path string) ([]model.FreezeWindow, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The library reads the first document only.
	if bytes.Contains(text, []byte("\n---")) {
		return nil, model.Invalidf(path, "", "keep one", "holds more than one document")
	}
	var document struct {
		Freeze *[]model.FreezeWindow `json:"freeze"`
	}
	if err := yaml.UnmarshalStrict(text, &document); err != nil {
		return nil, model.Invalidf(path, "", "write freeze: and a list of from and until", "%v", err)
	}
	if document.Freeze == nil {
		// A file that is written anew is empty for a moment.
		return nil, model.Invalidf(path, "freeze", "write freeze: [] where there are to be none", "is missing")
	}
	return *document.Freeze, model.ValidateFreeze(path, "freeze", *document.Freeze)
}
