// Package certfile reads certificates, their keys and authorities from PEM files that may change while they are in use, so that a certificate can be renewed
// without a restart and without ending a connection: each handshake takes what the files hold by then, and connections that stand go on.
//
// There is no loop and no goroutine: who asks has the files looked at, at most once in lookEvery, so that a port under a storm of handshakes does not read them
// for each. What cannot be used leaves in place what was read before, and is told once: a certificate whose key is not its own, which is how a pair looks of which
// only one file is written yet, a file that is gone, text that is no PEM. A server that ends every handshake helps nobody, and an old certificate may be good for
// hours yet.
//
// It imports gRPC's credentials, watched and proxied, and nothing else of the project.
package certfile
