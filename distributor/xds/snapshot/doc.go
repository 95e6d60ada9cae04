// Package snapshot decides in which order an Envoy over ADS is sent the resources of a release: listeners, routes, clusters, endpoints, secrets and
// extensions. It does no I/O, and is told what time it is.
//
// A Snapshot is what a chain has of them, with what each refers to; Check says whether it is whole, before anything of it is sent. A Client is what one Envoy
// asks for and holds; from the two follows what may be sent now:
//
//	clusters ─► endpoints, secrets, extensions ─► (the slot swaps its filters) ─► listeners ─► routes ─► clusters that nothing refers to any more are removed
//
// # Invariants
//
//   - No listener and no route is sent before Envoy has accepted every cluster of the snapshot that it names, and their endpoints.
//   - No cluster is removed while a listener or a route that Envoy holds may name it.
//   - At most one response of a kind waits for its answer. That to clusters comes late: Envoy holds it back until they are warm, for which it needs endpoints and
//     secrets, so these are sent meanwhile.
//   - A resource that Envoy rejected is not sent again in that version. What does not depend on it goes on. Of several in one response, which one it was is found
//     by halves.
//
// Both kinds of discovery come from the same decisions: the state of the world is all of a kind at once, so what is still needed is in it, too.
//
// The package imports model, and envoy, which reads what resources refer to.
package snapshot
