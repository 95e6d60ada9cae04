// Package fleet runs a small fleet of real processes on this machine: a distributor, an upstream, and Envoys with an agent
// each; and sends them load whose every answer is checked. The demo and the end-to-end tests are written on it.
//
// The flow: New, then StartUpstream, StartServe and StartAgent; Command and JSON run waft's command lines against the
// distributor; StartLoad sends requests; Read asks each Envoy for its own statistics; Stop ends everything that was
// started, and only that.
//
// A Fleet's methods are called from one goroutine; a Load may be used from any.
package fleet
