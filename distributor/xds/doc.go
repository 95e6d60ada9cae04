// Package xds serves Envoys that have no agent beside them: the aggregated discovery service (ADS), state of the world and delta, over the same
// collections that agents get by MCP.
//
// The flow on one stream: Envoy says who it is and which slots it has (ECDS names). What the service gives the node becomes a chain of remote modules,
// which Envoy fetches by digest from the distributor's HTTP port. The chain goes to the slot waft-next first, where the bootstrap has one, a filter more
// at a time, and to the slot waft when all of it is loaded; then waft-next is emptied. What Envoy answers becomes reports, as an agent would send them.
//
// An ACK means loaded, because modules are sent with nack_on_code_cache_miss: Envoy rejects what it has not fetched yet, in the words in which it rejects
// a module that does not load. So a rejection is not believed at once where a module may have been missing; see desk.
//
// Invariants:
//   - No offer has the content of the one that was rejected before it: Envoy accepts that without a look, and an ACK would not mean loaded.
//   - At most one response of a type is unanswered on a stream, so a slow reader holds a few messages and no more.
//   - A version that Envoy rejected for good is not sent to it again, on whatever stream, unless a person asks (waft nodes retry).
//   - An Envoy that serves nothing while its version is refused is given the chain that it accepted last, where that is remembered.
//   - What is known of a node is changed by its newest stream alone.
//   - No slot is ever emptied: a node that has nothing to run is sent nothing. An Envoy without its slot's chain would answer 500 to everything.
//   - Each distinct resource is encoded once, not once a node.
//   - desk decides and does no I/O; streams of both kinds only translate.
//
// An Envoy whose bootstrap says so is given listeners, routes, clusters, endpoints, secrets and other extensions, too. In which order is decided by package
// snapshot, and the two go hand in hand: filters are swapped when the clusters are there, and before listeners and routes are changed. A chain is loaded when Envoy
// has accepted all of it.
//
// Beside that, Envoys push their statistics (envoy.service.metrics.v3.MetricsService), which package pushed reads, of nodes whose statistics the service asks
// for.
//
// What is proved without an agent is less: no probe, no last good chain that outlives a restart of the distributor. The ledger therefore ends at
// loaded, with Serving naming what Envoy accepted.
//
// The package imports service, model and envoy, which renders chains for agents, too; never api or mcp.
package xds
