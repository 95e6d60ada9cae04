//go:build !linux

package distributor

import (
	"net"
	"time"
)

// setUserTimeout does nothing: no other operating system has the option in a form that x/sys knows. What waits for a dead client there is found by the
// patience of the port.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
