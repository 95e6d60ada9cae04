// Package delivery turns releases, by layer, and a node into what that node is sent. It is pure: the same arguments give
// the same results, on every replica, and nothing is changed that it is given.
//
// # The flow
//
//	releases by layer ── Render ──► the node's chain ── Collections ──► waft/v1/filters, waft/v1/chains, waft/v1/prefetch
//
// # The merge
//
// Filters are keyed by name. The layers' defaults (spec.filters) are laid one over the other in the order global, team,
// service: the later wins, field by field. Then the layers' overrides (spec.overrides) are laid over that in the opposite
// order, so that the earlier wins and stands. A config is merged as a JSON merge patch (RFC 7396), member by member, and
// null takes a member away, or the whole config; the first layer that gives a config gives it as it is, nulls inside it too. A module is one field: no
// chain ever mixes the digest of one layer with the size of another.
//
// The merged filters are ordered as a request meets them: by phase (AUTHN, AUTHZ, STATS, then none), then by priority, the
// higher first, then by name.
//
// # Invariants
//
//   - A node that was never given a release has no chain, so nothing in waft/v1/chains, and waits. Releases without
//     filters give a chain with a hash and no filters: the node serves without filters.
//   - Equal versions mean equal content. Versions and the chain's hash cover neither references nor release names, except
//     for the version of the chain's resource, which covers all of its body.
//   - Every filter of a chain has a module, a failure policy, and a priority.
//
// The package imports model and the standard library only.
package delivery
