// Package gates reads the gates of rollouts whose answer is elsewhere: queries to a Prometheus, and webhooks. It implements service.Gates. And it
// judges those on statistics, by expressions in CEL, which is service.Expressions: no I/O, and the same answer each time.
//
// A rollout says whom to ask, so whoever may start one could have the distributor ask anybody: only hosts that its operator has named are
// asked, and redirects are not followed. An answer that is late, malformed, too long or not there is inconclusive, never a verdict.
package gates
