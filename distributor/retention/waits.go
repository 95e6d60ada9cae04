package retention

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/wholefile"
)

// WaitsFile, in the registry's folder, keeps Waits over restarts. Without it everything waits anew.
const WaitsFile = "unneeded.json"

// maxWaitsBytes bounds that file: a million entries of 250 bytes.
const maxWaitsBytes = 256 << 20

// storedWaits is its content: seconds by REPOSITORY@DIGEST.
type storedWaits struct {
	Seconds map[string]float64 `json:"unneededForSeconds"`
}

// readWaits reads them; none where there is no file.
func readWaits(dir string) (Waits, error) {
	path := filepath.Join(dir, WaitsFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Waits{}, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxWaitsBytes {
		return nil, fmt.Errorf("%s has %d bytes; the limit is %d", path, info.Size(), maxWaitsBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseWaits(text)
}

// parseWaits reads what text keeps. What it does not understand has not waited.
func parseWaits(text []byte) (Waits, error) {
	var stored storedWaits
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("%s: %w", WaitsFile, err)
	}
	waits := Waits{}
	for name, seconds := range stored.Seconds {
		repository, digest, ok := strings.Cut(name, "@")
		if ok && registry.Digest(digest).Valid() && seconds >= 0 && seconds < maxWait.Seconds() {
			waits[Object{repository, registry.Digest(digest)}] = time.Duration(seconds * float64(time.Second))
		}
	}
	return waits, nil
}

// maxWait is more than anything ever waits.
const maxWait = 100 * 365 * 24 * time.Hour

// keep writes them.
func (w Waits) keep(dir string) error {
	stored := storedWaits{Seconds: map[string]float64{}}
	for of, waited := range w {
		stored.Seconds[of.Repository+"@"+string(of.Digest)] = waited.Seconds()
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return wholefile.Replace(filepath.Join(dir, WaitsFile), text)
}
