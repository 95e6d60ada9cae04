// Package rules decides which rule a request falls under, and which rules a set of claims satisfies.
//
// The flow: NewSet takes the rules in their order and refuses one that an earlier rule shadows. NormalizePath brings the
// path of a request into the one form that rules are written in, or refuses it. Set.Find gives the first rule that
// matches method, path and headers. Set.Grants says, for a token's claims, which rules it satisfies; that does not
// depend on the request, so it is computed once a token and remembered.
//
// Invariants:
//   - No rule, no entry: a request that no rule matches is denied by the caller.
//   - A path that two servers could read in two ways is refused, never repaired. What NormalizePath accepts differs from
//     its normal form in percent-encoding of ordinary characters and one trailing slash only.
//   - A header that a rule asks about and that occurs more than once makes the request ambiguous, and it is denied.
//   - Find and NormalizePath allocate nothing for a path without percent-encoding.
//
// The package imports the standard library only. It knows nothing of tokens' signatures and of HTTP answers.
package rules
