// Package service holds the distributor's use cases: publish a release, start, pause, resume, promote, abort and undo a
// rollout, take what nodes report, and say what each node is to run. It declares the interfaces that it needs (Store,
// Modules); adapters implement them.
//
// # Flow
//
// Adapters (api, mcp, xds) call the use cases and hold one Session for each stream of a node. What a session says changes
// the memory's picture of the node, marks its row for writing, and wakes the drive loop. The drive loop is one goroutine,
// and the only one that decides about rollouts: it observes the nodes of a rollout's target, asks package rollout for the
// next state, writes the rollout with its audit entries in one transaction, then carries the actions out by changing rows
// of nodes. The ledger is one more goroutine, and the only one that writes rows of nodes: in batches, each row when it has
// changed, never for a heartbeat or for statistics. When a row is durable, what it assigns becomes visible to the node's
// sinks, which are told through Watch.
//
// # Invariants
//
//   - Nothing but this package writes the store.
//   - A rollout is written before its actions are carried out; a row of a node is written before its sinks see it. So a
//     crash at any point loses nothing that anybody was told, and what it cut short is decided again from the rows.
//   - A rollout is the only thing that changes what a node runs, and a node's generation rises with each change.
//   - Every change has an actor, a reason and an audit entry, in the transaction of the change.
//   - Presence, statistics and counts of restarts live in memory only.
//
// # Concurrency
//
// Service.mu guards all of the memory's picture: nodes, rollouts, sessions, caches of releases and chains. It is held for
// short computations, never over a call of Store or Modules or a send on a channel that may block. The locks of hub and
// waker are leaves: they may be taken while mu is held, and nothing of the service is taken while they are held. What Watch
// and Session.Alert were given is called under them: it has locks of its own, and calls nothing of the service. The order is
// Service.mu, then hub.mu or waker.mu. A rollout's state is replaced by the drive loop alone, and only after the store
// has it; commands are functions run by the drive loop, one at a time, so that two operators never act on one state.
//
// # Imports
//
// The package imports model, rollout, delivery, the standard library and a JSON Schema validator. It knows no protocol,
// no database and no registry.
package service
