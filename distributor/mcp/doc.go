// Package mcp speaks the Mesh Configuration Protocol, classic: istio.mcp.v1alpha1. Either end may dial.
//
// Source is the distributor's end, over the collections that package service computes for a node: a gRPC service that sinks
// dial, and by Source.Dial a client of sinks that wait for it. Sink is the other end, used by the agent; SinkServer is one
// that waits. They know nothing of the distributor's insides and work against any source.
//
// The flow on one stream: the sink names itself and asks for collections; the source answers each with a message that
// has a nonce; the sink accepts it (ACK: the nonce) or refuses it (NACK: the nonce and a reason); the source sends the
// next message of a collection when the collection has changed and the one before has been answered. A message is the
// collection's full state, or, when both ends opt in, what has changed since the last one that was accepted.
//
// An ACK means received, decoded, verified and stored. Whether Envoy serves with it travels on the report stream
// (waft.v1.ReportService), never here.
//
// Invariants:
//   - At most one message of a collection is unanswered on a stream.
//   - After a NACK nothing is sent for that collection until its version changes.
//   - What a node asks is bounded in time, over all its streams; what it is sent does not wait for that.
//   - A nonce that is not the one awaited is counted and ignored.
//   - What a sink is taken to hold is what it said it holds, and what it has accepted since; never what was only sent.
//
// The package imports service and model, and the generated packages; never api or xds.
package mcp
