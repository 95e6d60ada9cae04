//go:build unix && !linux

package envoy

// lowerProbe: only Linux has priorities of threads.
func lowerProbe(int) {}

// LowerMain does nothing here.
func (p *Process) LowerMain() (restore func()) { return func() {} }

// GiveWay does nothing here.
func (p *Process) GiveWay() error { return nil }

// RestoreMain does nothing here.
func (p *Process) RestoreMain() error { return nil }
