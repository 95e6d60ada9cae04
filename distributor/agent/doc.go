// Package agent is the sink that lives beside an Envoy: it brings the chain that a rollout gave to its node into that
// Envoy, proves that it serves, and keeps Envoy on the last good chain whatever happens.
//
// The way of a chain through it, one stage after the other (see Run for who runs which):
//
//	MCP sink          collections waft/v1/filters, waft/v1/chains, waft/v1/prefetch; an ACK means: on disk
//	assemble          the chain with all the filters it names, at the versions it names
//	fetch             modules by digest from the distributor into a cache on disk, verified
//	trust             the node's own policy, where it has one: signatures, and the chain rendered again from signed releases
//	secrets           the values that the configurations name are put into them, from files and variables of this machine
//	probe             envoy --mode validate, once for each Envoy build and rendered hash
//	pre-load          new modules into the slot waft-next, one at a time, while the old chain serves
//	swap              the slot's file, replaced by rename
//	proof             version_text is the chain's, config_reload has advanced, nothing was rejected, no worker hangs
//	trial             some seconds of serving without a crash, a hang or a bypass
//	good              the chain becomes last-known-good: the default of the bootstrap
//
// A chain may have resources of other collections, which the agent asks for when the chain names them. It assembles the chain only with all of them at the
// versions that the chain names, and shows them to applications as files (show) from the proof on.
//
// Beside them, reports go up a stream of their own: what was fetched, how far the chain has come, statistics.
//
// What to do next is decided by pure functions (decide.go, proof.go, ledger.go) over a situation; the driver (driver.go)
// is the only goroutine that acts on Envoy's files and process.
//
// Invariants:
//
//   - A chain becomes last-known-good by being watched, not by being found in Envoy when the agent starts; but for the first one.
//   - Outside of a trial the slot's file holds the last good chain, and so does the bootstrap's default. It is put back
//     before Envoy is started again.
//   - A node that was never given a chain does not serve: as its parent, the agent does not start Envoy; an Envoy run by
//     others does not listen. An explicit empty chain serves.
//   - A chain is taken with all its filters and resources, at the versions that it names, or not at all.
//   - A chain that is older than the last one seen never wins.
//   - What the node's policy refuses reaches no Envoy, not even to be probed; what serves already is not taken away by it.
//   - The value of a secret is in what Envoy reads, in state.json beside the chain that it stands in, and nowhere else; no log and no report has it.
//   - The probe's rejection is final for that Envoy build and rendered hash. Everything else is tried again, with backoff.
//   - One Envoy runs for a state folder: one that an earlier agent left (Config.LeaveEnvoy) is taken over, or ended before another is started.
//   - Neither the distributor nor the registry is needed to go on serving, or to start.
//   - Modules reach Envoy as files, named by digest, in a folder that only the agent's user can reach.
//
// On disk, in Config.StateDir: state.json (and state.json.previous), verdicts.json, modules/, slots/, envoy/, trust/, good/, secrets.key, bodies/, resources/.
//
// The package talks to the distributor by its public protocols only: it imports mcp (the sink), api/gen, reporting (the report stream), model, registry and
// envoy, and nothing else of the distributor.
package agent
