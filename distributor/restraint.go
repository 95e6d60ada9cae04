package distributor

import (
	"bytes"
	"fmt"
	"log/slog"

	"sigs.k8s.io/yaml"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/watched"
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
	file *watched.Files[[]model.FreezeWindow] // nil: there is none
}

// newFreezeFile reads the file; a path that is empty gives one without windows.
func newFreezeFile(path string, log *slog.Logger) (freezeFile, error) {
	if path == "" {
		return freezeFile{}, nil
	}
	parse := func(contents [][]byte) ([]model.FreezeWindow, error) { return parseFreeze(path, contents[0]) }
	told := func(list []model.FreezeWindow, err error) {
		if err != nil {
			log.Error("freeze windows could not be read; those from before hold", "file", path, "windows", len(list), "error", err)
			return
		}
		log.Info("freeze windows were read again", "file", path, "windows", len(list))
	}
	file, err := watched.Open(0, parse, told, path)
	if err != nil {
		return freezeFile{}, fmt.Errorf("read the freeze windows: %w", err)
	}
	return freezeFile{file}, nil
}

// windows are those of the file as it is now, or as it was when it could be read: a file that is broken must not thaw the fleet.
func (f freezeFile) windows() []model.FreezeWindow {
	if f.file == nil {
		return nil
	}
	return f.file.Now()
}

// parseFreeze reads the text of a file of windows.
func parseFreeze(path string, text []byte) ([]model.FreezeWindow, error) {
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
