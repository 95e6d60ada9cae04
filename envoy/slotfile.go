package envoy

import (
	"path/filepath"

	"github.com/waft-project/waft/wholefile"
)

// Write puts the content in place of the slot's file in dir, by rename, so that Envoy reads the old or the new content
// and nothing between. The file is readable by its owner only: plugin configurations hold secrets.
func (f SlotFile) Write(dir string) error {
	return wholefile.Replace(filepath.Join(dir, SlotFileName(f.Slot)), f.Content)
}
