// Package istioadsc tries waft's MCP over xDS with the client by which Istio's control plane reads its configuration, pkg/adsc, set up as
// istiod does. `make interop-istio` runs it.
//
// It is a module of its own, since Istio brings hundreds of others. waft is a program here: $WAFT, with $MODULE for a filter.
package istioadsc
