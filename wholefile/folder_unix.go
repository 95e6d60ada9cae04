//go:build unix

package wholefile

import "os"

// flushFolder has the names in a folder on disk.
func flushFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // read only
	return folder.Sync()
}
