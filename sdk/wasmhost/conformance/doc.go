// Package conformance shows that wasmhost does what Envoy does: it runs the same small modules in both, and compares what they saw.
//
// Flow: a testCase is a guest (which callbacks a module exports, and what each of them does: host calls, returns, a trap) and the steps of the
// world around it (a request's headers come, the upstream answers, a callout's server resets). guest.module assembles it, without a tool
// or an SDK between, so that nothing hides what the host did. The guest writes its own trace with proxy_log: a line for every callback with
// its arguments, and for every host call with its status and what it returned. runHost plays a case in wasmhost under a profile,
// realEnvoy.run in a real Envoy, where each case has a listener of its own; compare puts the two traces side by side.
//
// A trace holds besides what the client and the servers got. One case is one VM, so that context ids and tokens are the same in every run.
//
// What is not compared, because no two runs of Envoy agree on it, or because it is not the Wasm host's:
//   - UUIDs and ports, wherever they stand; among headers the values of x-request-id and of durations, and date and server, which the
//     connection manager adds to a response before on_log;
//   - tokens of shared queues and CAS values, whose counters belong to the process: guests compare them themselves, and use them;
//   - the order of the property request.headers, which Envoy takes from a hash map;
//   - the values of the properties response.backend_latency and response.total_size;
//   - at the two ends, the headers that connection manager and router add (seen), how a body is cut into frames within one step, the order
//     in which two ends hear of one step, and how the router ends the upstream's stream after the client has gone;
//   - the sizes that the host allocates, in the few guests that read a duration (quiet);
//   - lines of Envoy's main thread, which starts each module twice more; they count only where a configuration is refused.
//
// A case of which Envoy dies is compared up to there; wasmhost must then have reported ErrMisuse (stepTrace.breaks). Differences that stay
// are listed with their reason (listed.go). Two callbacks of the ABI no Envoy ever calls (uncalled).
//
// Mutate shows that the cases cover what they say: without any one function of wasmhost a case has another trace.
//
// The package imports wasmhost and envoy, and nothing else of the project.
package conformance
