package sdktest

import (
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Close drops the configuration, as Envoy does when another has taken its place, and lets the clock run until the filter has
// done what it still had to do. It gives the time at which it was done. The filter is not used after that.
func (f *Filter) Close() time.Time {
	f.t.Helper()
	ended := f.guest.Done(pluginID)
	until := f.host.now.Add(maxWait)
	for !ended && !f.host.ended {
		if !f.pump() && !f.step(until) {
			f.t.Fatalf("the filter does not end: it waits for nothing that comes within %v", maxWait)
		}
	}
	f.guest.Delete(pluginID)
	return f.host.now
}

func (h *host) Done() abi.Status {
	h.ended = true
	return abi.OK
}
