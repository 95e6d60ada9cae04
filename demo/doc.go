// Package demo is `waft demo`: the main job, end to end, on real parts.
//
// It builds the three shipped filters and runs their scenarios, starts a distributor, an upstream and four Envoys with an
// agent each (every one a process of its own), publishes, and rolls four releases out under constant load: two good ones,
// one that loads and then fails requests, and one that Envoy cannot load. Each step is checked from outside: by the
// answers that clients got, and by each Envoy's own statistics, never by what waft recorded of itself.
//
// The flow: Run reads as the list of steps; fleet.go starts and stops processes; load.go sends requests and checks every
// answer; releases.go holds the four releases; evidence.go reads Envoy's statistics; result.go says what held.
//
// Invariants: whatever happens, no process and no temporary file is left behind; a step that did not hold makes Run fail.
package demo
