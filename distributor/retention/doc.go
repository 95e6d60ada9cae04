// Package retention collects what nothing needs any more from the embedded registry: artifacts that no release and no tag names, with what is attached to them, and the
// blobs that no manifest names then.
//
//	reader     what stands in the registry's folder             Registry
//	Decide     which of it stays and why, and what may go       Outcome; pure, and the only place where that is decided
//	steps      what of that goes in one look, bit by bit        Removal; pure
//	spared     what stays of it, since it was used meanwhile; pure
//	Waits      for how long each thing was seen to be unneeded, over restarts
//	Uses       who pushes, pulls and asks just now: before the registry's handler
//	Collector  joins them: one Look after the other
//
// What holds:
//
//   - What a release names by digest stays, with its layers, what is attached to it, wherever that is, and what it is attached to; so does what a tag names.
//   - What somebody has pushed, pulled or asked for begins to wait anew. Who was told that the registry has a blob need not push it: it is there when the manifest comes.
//   - Time counts only while a distributor looks: neither a clock that jumps nor one that was off makes anything go.
//   - Nothing is removed when a folder cannot be read, nothing of a repository when a manifest or a tag of it cannot, and nothing before it is recorded that it goes.
//   - While the folder is read and decided on, the registry answers; it does not only during a step of a removal, in which what was used since is looked at first.
//   - Whatever moment a removal ends at, what is left can be looked at again: names go before what they name.
//
// It imports registry for digests, and wholefile; it knows neither the store nor the service: Collector is told what is named.
package retention
