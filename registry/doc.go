// Package registry publishes and fetches Wasm filters as OCI artifacts. It is a library of its own: any Go program can use
// it without the rest of waft.
//
// The flow of a push: a Module (bytes, and what is known of them) becomes an artifact in a Layout that other systems read,
// and its waft manifest, if there is one, is attached as an OCI 1.1 referrer. The tag is written last, so that a push that
// is interrupted changes nothing that a reader sees.
//
// What else belongs to an artifact (a signature, an SBOM, a report) is attached in the same way, by Attach, and read by
// Referrers and ReadReferrer. The package does not read it: what signatures mean is known to package signing below it.
//
// The flow of a pull: a Reference is resolved to an Artifact (identity: the digest of its image manifest), whose module
// (identity: the sha256 of its bytes) is downloaded into a Cache and given out as a file.
//
//	client, err := registry.NewClient(registry.Config{Cache: cache})
//	artifact, path, err := client.Pull(ctx, ref, nil)
//
// Invariants:
//   - Nothing that was read from outside is used before its size and its digest are verified; the limits are this
//     package's, never the descriptor's.
//   - Each way to fail has an error of its own (see Error), which says what to do next.
//   - The same Module pushed twice gives the same digests, on any machine.
//   - A file in the Cache is whole or it is not there.
//
// The package knows layouts, digests and bytes. It does not load Wasm, and it does not read the waft manifest. It imports
// nothing else of this project.
package registry
