// Command ratelimit is a filter that limits how many requests a client, a route or a header's value may make, for all workers of
// an Envoy together.
//
// Flow: the request's rule names a limit and what to count by ([Config], key.go); the key has one number in the table in the
// shared data (package keytable), by which the generic cell rate algorithm decides (bucket.go). One read and one
// compare-and-set a request, whatever is counted.
//
// Invariants: the table never grows beyond its slots, whoever sends what. The hash is keyed with a secret of this Envoy, so that nobody
// outside can choose keys that collide. A key that is pushed out of the table starts anew: it is let in more often than the limit
// says, never less.
package main
