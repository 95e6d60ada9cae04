// Package descriptors understands protobuf messages by their descriptors: those that are linked into waft, and those of descriptor sets that users register. It turns the
// JSON form of a message, whole or the part that a layer gives, into the one spelling that can be merged, and into bytes.
//
//	JSON as people write it ── Set.Normalize ──► JSON that can be merged ── (package merge) ──► the whole ── Set.Marshal ──► bytes
//
// Invariants:
//
//   - The same set and the same JSON give the same bytes.
//   - What Normalize gives is its own normal form: fields by their JSON names, nothing left out that was written.
//   - A set comes from a stranger. It is bounded in size, and nothing that it names is read from elsewhere.
//
// The package imports model, package envoy for the messages of Envoy that it links, and protobuf; nothing else of the project.
package descriptors
