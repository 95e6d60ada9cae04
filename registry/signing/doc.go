// Package signing signs artifacts and verifies signatures, in the forms that cosign writes and reads, without a network
// beyond the registry itself.
//
// The flow of signing: a Signer (a key in a file or in the environment, or a KMS) signs two payloads that name the artifact's
// digest, and both are kept beside the artifact: a simple-signing payload in cosign's signature image at the tag
// sha256-HEX.sig, and an in-toto statement in a Sigstore bundle, as an OCI referrer. Attest signs any other statement about an
// artifact, such as "its scenarios passed on envoy-1.36", as a bundle.
//
// The flow of verifying: Collect reads what is beside an artifact, none of it trusted, into Evidence. Evidence.Verify says
// which of some public keys signed it, and that it is about this artifact and no other; what comes out is a Proof. What proofs
// are enough is a policy's to say: see package trust.
//
// Invariants:
//   - Bytes from a registry are bounded, and parsed only after their digest was verified.
//   - Nothing in a payload is looked at before a key has signed it. What else stands beside a signature (annotations, a hint
//     at the key) is never trusted. Evidence.Claim shows both to a person who looks for the right key; nothing is decided by it.
//   - A signature says what its key's owner claimed, and nothing of when: there is no trusted time here.
//
// Certificates of short life, as Sigstore's services give them, and transparency logs are for package keyless, which brings much that keys do without.
// Evidence of that kind is kept whole for it, and proves nothing here.
package signing
