package rollout

import "time"

const (
	// SilenceGrace is how long a node may be without a report stream, or say that it serves nothing, before it counts as
	// silent. It covers restarts of the agent and of the distributor.
	SilenceGrace = 30 * time.Second

	// MaxGap is the most time that passes, for soaks and deadlines, between two steps. A longer gap (the distributor was
	// down, or the clock jumped) counts as this much, so that nobody's absence passes for a soak.
	MaxGap = 10 * time.Second

	// SampleGrace is how long after the soak a gate may still wait for samples before it is called inconclusive. It covers
	// statistics that are on their way, such as after a restart of the distributor.
	SampleGrace = 10 * time.Second

	// AnswerGrace is the same for a gate that is read elsewhere and has not answered a question from after the soak. It covers a question that was under way when the soak
	// ended, and the one after it, of whoever takes all the time that the caller lets an answer take.
	AnswerGrace = 25 * time.Second

	// RollbackDeadline bounds a rollback.
	RollbackDeadline = 5 * time.Minute

	// SeenEvery is how far SeenAt may go on before Changed asks to write it. A distributor that is killed loses at most
	// this much of a soak.
	SeenEvery = time.Minute

	// JoinedEvery is how often the history tells of nodes that join: a fleet that grows would fill it otherwise.
	JoinedEvery = time.Minute

	// MaxFetchTrouble is how many bytes of why a node did not fetch are kept with the node in a rollout, which may have thousands of them; of one
	// node the message has all of it. A distributor that passes on a registry's words says some 200 bytes before these, its own address and a digest.
	MaxFetchTrouble = 300

	// Actor is who the history names for what the engine decided by itself.
	Actor = "waft"
)
