// Command fault is a filter that makes requests slow or answers them with an error, by chance or because their headers ask for it, to
// try what the clients of a service do then.
//
// Flow: the request's rule names a fault ([Config]). choose, which is pure, decides what becomes of the request by the rule, the
// request's own wishes and two random numbers (choice.go); the handler then waits, answers, or both (filter.go).
//
// Invariants: a request asks for nothing unless the configuration lets it. The number of requests that wait is bounded. A delay is no
// longer than its maximum.
package main
