//go:build !unix

package wholefile

// flushFolder does nothing: a folder cannot be flushed here.
func flushFolder(string) error { return nil }
