// Package keyless signs without a key of one's own, as Sigstore does it: a certificate authority (Fulcio) gives a certificate for some minutes to
// whoever shows an identity token, a timestamp authority and a log (Rekor) say when it was used, and the private key is forgotten.
//
// The flow: ParseServices reads which services to ask, Sign asks them and keeps the bundle beside the artifact. NewVerifier reads whom to believe, and
// Verifier.VerifyAll gives proofs that say who signed, and when. Both files are those that cosign has: a signing configuration and a trusted root.
//
// Invariants:
//   - Verifying asks nobody: what counts is in the bundle and in the trusted root.
//   - All that the trusted root has is asked for: a certificate of its authorities, a time, an entry in a log where it names one, and a certificate's
//     own log where it names that.
//   - A bundle is verified before it is published.
//
// It is apart from package signing because of what it brings: sigstore-go, and with it some 60 modules. Where keys do, they do without it.
package keyless
