package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The same trouble is told in the same words each time that it is met, though what is written has another name by chance each time: else each try is a report.
func TestTroubleIsToldAlike(t *testing.T) {
	dir := t.TempDir()
	temporary := func() *os.File {
		t.Helper()
		file, err := os.CreateTemp(dir, "state-*")
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, test := range []struct {
		name string
		try  func() error
		want string
	}{
		{"a write", func() error { _, err := temporary().Write([]byte("x")); return err }, "cannot keep the chain: file already closed; see the agent's log"},
		{"a rename", func() error { return os.Rename(temporary().Name(), filepath.Join(dir, "gone", "state")) }, "cannot keep the chain: no such file or directory; see the agent's log"},
		{"a rename on a full disk", func() error {
			return &os.LinkError{Op: "rename", Old: temporary().Name(), New: filepath.Join(dir, "state"), Err: syscall.ENOSPC}
		}, "cannot keep the chain: no space left on device; make room on the disk of " + dir},
	} {
		t.Run(test.name, func(t *testing.T) {
			tell := func() string {
				t.Helper()
				err := test.try()
				if err == nil {
					t.Fatal("it works")
				}
				return troubleWith("keep the chain", fmt.Errorf("keep the state: %w", err), dir)
			}
			if first, second := tell(), tell(); first != second || !strings.Contains(first, test.want) {
				t.Errorf("%q, and then %q; want %q", first, second, test.want)
			}
		})
	}
}
