// Package rollout decides who moves next. Step takes a rollout, an event and the time, and gives the rollout that follows
// and the actions to carry out. It is pure: no I/O, no clock, no memory of its own, so every decision can be replayed from
// the events.
//
// # The flow
//
// The caller (package service) loads a rollout, builds a NodeView of each node, and calls Step with Observe on every change
// and on every tick. It stores the rollout that comes back, then carries out the actions, in that order. Observe is
// level-triggered: an action lost in a crash is asked for again by the next Observe. Persons come in as the events Pause,
// Resume, Promote, Approve, Abort and RollBack, nodes that come into the target as Join.
//
// # The phases
//
//	Pending      Nothing has begun. Observe begins the first wave, unless it is Blocked by a rollout that shares nodes.
//	             Next: Fetching; Paused (Pause); RolledBack (RollBack, nothing to take back); Aborted (Abort, or no wave
//	             found a node).
//	Fetching     The wave's nodes are frozen and get the bytes; none of them runs the release. Ends when every counted node
//	             of the wave has fetched.
//	             Next: Moving; Fetching (the next wave, when this one has lost its nodes); Done; Paused (Pause, or no node
//	             of the wave can be counted and none has proved the release before); RollingBack or RolledBack (a moved
//	             node failed, a gate failed, the deadline passed, RollBack); Aborted.
//	Moving       The wave's nodes are assigned the release, all at once or, with a cap, a few at a time. Ends when every
//	             counted node proves that it serves.
//	             Next: Soaking; Paused (Pause); RollingBack or RolledBack; Aborted.
//	Soaking      All counted nodes serve. Ends when the soak is over, all of them still serve, every gate passes, a person has
//	             approved the wave where it asks for that, and nothing is frozen.
//	             Next: Fetching (the next wave); Done (it was the last); Paused (Pause, or a gate is inconclusive);
//	             RollingBack or RolledBack; Aborted.
//	Paused       Nothing moves on, and no time passes, so that nothing is late. What has moved is watched. Inconclusive says that a gate
//	             paused it.
//	             Next: the phase it was in (Resume; Promote where a gate paused it); RollingBack or RolledBack (a moved node failed, a
//	             gate failed, RollBack); Aborted.
//	RollingBack  Every moved node is assigned what it had before, all at once or, with a cap, a few at a time. Ends when each serves
//	             that, or has been given up: silent, a final rejection of what it had, or RollbackDeadline, which is each group's. One that
//	             was given up although it was there is isolated first. It cannot be paused or aborted.
//	             Next: RolledBack.
//	RolledBack   An end. Nodes that did not come back are Failed, with the reason, and are named in the message.
//	Aborted      An end. Moved nodes keep the release, the others what they have.
//	Done         An end. Every counted node serves the release.
//
// RollingBack is passed over, straight to RolledBack, where no moved node had anything before.
//
// # Waves
//
// Shares are cumulative over the nodes of the target that can be taken. Skipped are those whose Envoy cannot load the
// release, those that are isolated, those that another rollout holds, and sinks that cannot report, unless the spec includes them. Within a wave
// nodes that are present come first, then those that are away, then sinks that cannot report, each in the order of a hash
// of the rollout's and the node's name. A node that is away or cannot report when its wave moves is assigned with it, is
// not counted, and converges by itself; so is one that joins. A wave whose nodes cannot be counted passes only if a node
// of an earlier wave has proved the release, or a person promotes it. A wave without nodes is complete at once.
//
// # Cohorts
//
// A wave with a cohort gives the release to a part of its nodes' requests; the rest takes what the node had, which stays assigned. Its share is of nodes
// that run the release so: those that an earlier wave moved with another cohort come first, and are moved on, to more requests or to all. They
// serve what they have until they are, and go back from either to the one chain that they had. A node that cannot run two chains is passed over
// until a wave without a cohort. Gates see of such a node the requests of the cohort alone; one that cannot tell which these are makes a gate
// inconclusive. A wave with a cohort grants nothing to nodes that join.
//
// # Failures
//
// A counted node fails the wave, in any phase after it was moved, when it rejects the chain for good, serves it degraded or
// goes back to another one, is silent or serves nothing for longer than SilenceGrace, when its Envoy restarts, or when it is
// later than the deadline. A rejection that is not final is waited for until the deadline. A gate that fails does so at
// once, not at the end of the soak; one that cannot decide by then pauses. Then every node that any wave moved goes back. A
// node that had nothing before keeps what it has, since there is nothing to give it, and says so.
//
// # Restraint
//
// A cap bounds how many nodes are on their way or not serving, over all rollouts, those that have ended too: the caller counts those
// outside of the observation (Unsettled). A rollout has one of its own (MaxNotServing), and the fleet one that holds for every rollout (Cap); the
// smaller counts, on the way back as on the way on. Nodes that were never given anything, are away, or cannot report do not count. While an
// observation says Frozen no wave begins and no node moves; a deadline stands still for a wave that waits for either. What
// has moved is watched all the same, and goes back where it must.
//
// # Emergencies
//
// A filter that is disabled changes what nodes run past every rollout. The caller shows it by the chains of the view (TargetChain, FromChain),
// which are then others than those that were kept when the node's wave began. The rollout takes the new ones for its measure, has nodes prove
// them anew, fails none for it, and pauses: a person looks, and resumes. One that takes back goes on.
//
// # Gates that are read elsewhere
//
// A query or a webhook is I/O, so the caller asks it and gives the latest reading with each observation. Only a reading from
// after one of the wave's nodes served counts, and what passes the wave is one from after the soak; none is inconclusive. A
// gate that cannot tell has SampleGrace, or AnswerGrace where it was not answered since the soak, and pauses then, but not while
// a person or the end of a freeze is waited for.
//
// # Time
//
// Time passes only while it is watched. A gap of more than MaxGap between two steps counts as MaxGap, a clock that goes
// backwards as nothing, and a pause as nothing; soaks and deadlines move by the difference. So neither a jump of the clock
// nor a distributor that was down ends a soak or a deadline. Where the caller knows better, by a clock that does not jump
// (the event Watched), that counts instead, up to MaxGap. When the clock goes back, what the waves and nodes have noted of when they
// were moved goes back with it, since what comes later is held against that; history, starts and ends stay as they were
// told. SeenAt remembers the last step; a state that differs from the stored one in that alone need not be written (Changed).
//
// # Invariants
//
//   - The same (state, event, now) gives the same result; the state that goes in is not changed.
//   - A node is given a release only by an Assign, and only after its wave's nodes were frozen in the state, or by Join.
//   - The nodes that were moved never exceed the wave's share of the target as it was when the wave started.
//   - Ended rollouts give no actions, and paused ones none as long as they stay so.
//   - A command whose effect is there already changes nothing.
//
// # Where things are
//
// event.go, view.go and action.go are what goes in and out; cohort.go is about nodes with two chains. step.go dispatches; commands.go is what persons ask for;
// observe.go goes from phase to phase; waves.go chooses nodes, move.go moves them; nodes.go follows one node; gates.go reads
// gates; rollback.go takes back; rebase.go follows an emergency; clock.go keeps time; joining.go, undo.go, conflicts.go and plan.go stand beside the machine.
//
// More kinds of gate are more fields of model.GateSpec and more cases in readGates.
//
// The package imports model and the standard library only.
package rollout
