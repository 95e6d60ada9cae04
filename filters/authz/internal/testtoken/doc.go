// Package testtoken signs tokens with fixed TEST keys, for the tests of the filter authz and for its scenario files.
//
// The keys are the examples that RFC 7515 (appendix A) and RFC 8037 (appendix A) print, private parts included. All the
// world knows them: they are worth nothing, and no real configuration may hold them. Signatures are deterministic, ES256
// too (RFC 6979), so that the scenario files come out the same each time.
//
// Only tests import this package.
package testtoken
