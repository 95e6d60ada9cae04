// Command extauthz is a filter that asks another service, over HTTP, whether a request may pass.
//
// Flow: the request's rule names an authorizer ([Config]). key.go makes, of what the authorizer is told, the question and the key of its answer.
// An answer that is remembered counts (cache.go); a question that is being asked already is waited for; else the filter
// asks (ask.go) and applies the answer to the request (answer.go, filter.go).
//
// Invariants: fail closed. Only an answer of the authorizer with a 2xx status lets a request pass, unless failOpen says so of an authorizer
// that does not answer. Headers that the authorizer sets are taken from the client's request first. The cache and what is in flight are
// bounded; an answer is remembered only for requests that the authorizer was told the same of, and no longer than it allows.
package main
