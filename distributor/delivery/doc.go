// Package delivery turns releases, by layer, and a node into what that node is sent. It is pure: the same arguments give
// the same results, on every replica, and nothing is changed that it is given.
//
// # The flow
//
//	releases by layer ── merge.Render ──► the node's chain ── Collections ──► waft/v1/filters, waft/v1/chains, waft/v1/prefetch,
//	                                                                           and one for each collection of its resources
//
// # Invariants
//
//   - A node that was never given a release has no chain, so nothing in waft/v1/chains, and waits. Releases without
//     filters give a chain with a hash and no filters: the node serves without filters.
//   - Equal versions mean equal content. Versions and the chain's hash cover neither references nor release names, except
//     for the version of the chain's resource, which covers all of its body.
//   - A chain names every resource that belongs to it, with its version, so that a sink can tell when it holds all of a release.
//   - Every filter of a chain has a module, a failure policy, and a priority.
//
// The package imports model, the merge in it (package merge) and the standard library only.
package delivery
