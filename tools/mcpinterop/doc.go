// Package mcpinterop tries waft's ends of the Mesh Configuration Protocol with the code that Istio generated for both ends when it spoke
// the protocol: istio.io/api of May 2020, with the gRPC of its day. `make interop-mcp` runs it.
//
// It is a module of its own, because what is generated from one protobuf package is registered once in a process, and because these
// versions must not be waft's. So waft's ends are programs here: $WAFT is `waft`, $MCPSINK is e2e/mcpsink, $MODULE a filter to roll out.
package mcpinterop
