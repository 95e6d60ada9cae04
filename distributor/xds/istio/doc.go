// Package istio speaks MCP over xDS: the aggregated discovery service, state of the world, with which Istio reads its
// configuration (configSources: xds://HOST:PORT). A control plane of Istio is a node here, and gets the filters of its chain
// as TrafficExtension, or as WasmPlugin where it knows no other.
//
// The flow on one stream: the client names itself and asks for every kind of resource that it knows; each is answered, most
// with nothing, since it counts as synced only then. What it has of filters is answered once it is known what it is to
// have, and sent again, whole, when that changes and the answer before has been acknowledged.
//
// What this dialect cannot do follows from the client: a resource that is absent is deleted, an answer is acknowledged
// whatever is in it, and a control plane gives what it has to all its proxies at once. So:
//   - a chain is sent whole or not at all; one that Istio cannot have leaves the one before in place;
//   - a node that may yet be given a chain is not told that it has none, or proxies would go without for a moment;
//   - the ledger gets no further than offered.
//
// Server is the I/O, subscription decides what is due, and what is in istio.go renders; the two are pure. The package
// imports service and model, and generated packages; never api or mcp.
package istio
