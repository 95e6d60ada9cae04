//go:build unix

package agent

import (
	"syscall"
	"testing"
)

// A folder that is given back can be taken at once, also while a program is being started: until it is there, it has all files that are open.
func TestStateIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	state, _, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	forked, err := syscall.Dup(int(state.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(forked) }()
	if err := state.close(); err != nil {
		t.Fatal(err)
	}
	again, _, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.close()
}
