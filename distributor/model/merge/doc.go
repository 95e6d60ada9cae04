// Package merge makes a node's chain out of the releases of its layers: the same on a distributor, which sends it, and on a node that checks by the releases'
// signatures what it was sent. It is pure: the same arguments give the same chain, and nothing is changed that it is given.
//
// # The merge
//
// Filters are keyed by name. The layers' defaults (spec.filters) are laid one over the other in the order global, team,
// service: the later wins, field by field. Then the layers' overrides (spec.overrides) are laid over that in the opposite
// order, so that the earlier wins and stands. A config is merged as a JSON merge patch (RFC 7396), member by member, and
// null takes a member away, or the whole config; the first layer that gives a config gives it as it is, nulls inside it too. A module is one field: no
// chain ever mixes the digest of one layer with the size of another.
//
// A list is replaced whole, unless it is declared to be merged by key: by the schema of the module's configuration, or by the declaration of the resource's collection
// that came with the release which is laid over. Then items with the same key are one, and merged; others are put behind; and one with "$patch": "delete" is taken away.
//
// Resources are keyed by collection and name, and laid one over the other as filters are, their fields as a config is. An opaque one is given whole: nothing can be
// merged with it.
//
// The merged filters are ordered as a request meets them: by phase (AUTHN, AUTHZ, STATS, then none), then by priority, the
// higher first, then by name.
//
// A release of an emergency layer takes its filter out of what was merged, whoever gave it; one of phase AUTHN or AUTHZ only where the
// release says that unauthorized requests may pass.
//
// A kept secret is named by releases of its own layer alone, and a filter that holds one takes its module and its configuration from layers that its owner gives way to
// anyway: the owner itself, and those before it.
//
// Every filter of a chain has a module, a failure policy, and a priority. The chain's hash covers neither references nor
// release names.
//
// The package imports model and the standard library only.
package merge
