//go:build unix && !linux

package envoy

import "os/exec"

func ownSession(*exec.Cmd) error { return ErrNotLinux }

// findDetached: there are none, since none can be started.
func findDetached(string, func(int, string)) ([]found, error) { return nil, nil }
