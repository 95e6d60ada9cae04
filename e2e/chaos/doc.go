// Package chaos runs small fleets of real processes under faults and load, and says what did not hold.
//
// The flow: Draw makes a Schedule of a seed; Run carries it out and returns a History; Check, which is pure, holds the History against
// the Rules; Result adds up. RunSeed does all that for one seed. Command run (e2e/chaos/run) does it for ranges of seeds.
//
//	schedule.go    what is done: rollouts of good and bad releases, and faults, most of them tied to a phase of a wave
//	machine.go     the processes: an upstream, a registry, a distributor, and nodes, each an Envoy with an agent beside it
//	replica.go     the distributors, where there are several
//	member.go      the members of etcd, in schedules in which that is not in the distributor's process
//	unit.go        one process, started again whenever it ends
//	proxy.go       the network between agents and the distributor: slow, stalled, or cut
//	inject.go      carries out faults, and notes when an Envoy could not answer because of one
//	load.go        an open load on every node; every answer is logged
//	caller.go      clients of the API; every call is logged
//	clock.go       clocks of waft that jump, in builds of these runs alone
//	emergency.go   the operator, where he disables a filter and puts it back
//	meddle.go      a second operator, who works on the same rollouts at the same time, approves waves that ask for it, and has nodes try again
//	run.go         the operator, who starts rollouts and follows them, and all the above together
//	history.go     what was logged
//	check*.go      the rules
//	model.go       what the API may answer to several at once
//	result.go      bench/out/chaos.json
//
// The schedule follows from the seed alone. What the fleet makes of it does not: processes run as the machine lets them, so a replay
// does the same things in the same phases, not at the same microsecond.
//
// What a fault may excuse is little: requests to an Envoy that a fault took, from the fault to its first answer. An agent, the
// distributor, the registry and the network between them excuse nothing.
package chaos
