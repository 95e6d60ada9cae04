// Package client brings collections of a distributor into an application: feature flags, settings, policies, of any protobuf type. The application is a node of
// its own, as an Envoy with its agent is one: rollouts give it releases in waves, and it says what became of them.
//
// An application names the collections that it takes, with their types, starts a client, and reads snapshots:
//
//	const flags = client.Collection[*flagspb.Flag]("flags")
//
//	c, err := client.Start(ctx, client.Config{Node: "checkout-1", Servers: []string{"waft:7070"}, StateDir: dir, Collections: []client.Subscription{flags}})
//	…
//	flag, ok := flags.Get(c.Snapshot(), "v2")
//
// The way of a release through it:
//
//	MCP sink     the collections, and waft/v1/chains, which says what belongs together; an ACK means: received and decoded
//	assemble     the release with every resource that it names, at the versions that it names, or not at all (decide.go)
//	accept       Config.Accept, where the application has one: its own check of what it would take
//	keep         on disk, so that the application starts with it when no distributor is there (state.go)
//	swap         Client.Snapshot returns it from now on; those who wait are told
//	trial        for Config.Trial: an application that ends in it without Close starts again with the release before, and rejects this one
//	good         last-known-good
//
// Beside it, reports go up a stream of their own: offered, loaded, serving, or rejected with the reason; that is what waves and gates count.
//
// Invariants:
//
//   - A snapshot is one release whole, over all collections of the client, and never changes. Reading one takes no lock.
//   - What cannot be decoded, is refused by Accept or has filters is not taken, and is reported as rejected; what was there before stays.
//   - A release is on disk before it is served. A file that is torn is never read: the one before it is.
//   - What was good once is not forgotten because it cannot be used now: the next start, or another version of the application, may read it.
//   - A release that is older than the last one seen never wins.
//   - Neither a distributor nor its network is needed to start with what was there before, or to go on.
//   - When Close returns nothing of the client runs any more.
//
// The package talks to the distributor by its public protocols only: it imports mcp (the sink), reporting (the report stream), the generated API, model and certfile, and neither Envoy's types, wazero,
// etcd nor a registry: a test says so.
package client
