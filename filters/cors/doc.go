// Command cors is the filter that tells browsers which other origins may read responses (the CORS protocol of the Fetch
// standard, https://fetch.spec.whatwg.org/#http-cors-protocol). README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. origin.go and policy.go check it and prepare, once, what requests are compared with and what
// responses get. filter.go answers preflights itself, and writes the CORS headers of all other responses.
//
// # Invariants
//
// Under a policy, this filter alone says what a browser may do: what the upstream says is taken away. An origin that is not
// listed gets no CORS header at all. A response that depends on the origin says so in Vary, so that no cache mixes them up.
//
// It imports package sdk and the standard library only.
package main
