package access

import "slices"

// Action is a kind of thing that somebody may want to do. The zero value is none, and allowed to nobody.
type Action string

// The actions.
const (
	// Probe is to ask whether the distributor is alive. Everybody may.
	Probe Action = "ask for health"
	// Fetch is to get what a node needs beside its collections: modules by digest, and the signatures beside them.
	Fetch Action = "fetch modules"
	// Read is to see what there is, and to pull from the registry.
	Read Action = "read"
	// Push is to write to a repository of the registry.
	Push Action = "push"
	// CreateRelease is about a layer, as are the next ones.
	CreateRelease Action = "create a release"
	// WriteResource is about what a layer keeps for its releases; what is for all layers, declarations and types, is in the global one.
	WriteResource Action = "write a resource"
	// WriteSecret is about what a layer has of secrets that the distributor keeps: to give them values, and to take them away. Nobody reads a value.
	WriteSecret    Action = "write a secret"
	MoveRollout    Action = "start or steer a rollout"
	ApproveRollout Action = "approve a rollout"
	// DisableFilter takes a filter out of chains, or puts it back; the layer is the filter's emergency layer.
	DisableFilter Action = "disable or enable a filter"
	// ExposeFilter is, beside DisableFilter, what it takes to disable a filter that guards.
	ExposeFilter Action = "let unauthorized requests pass"
	// FreezeRollouts keeps all rollouts from moving on, or lets them; it is about the global layer.
	FreezeRollouts Action = "freeze all rollouts"
	// TendNode tries a rejected chain again, or ends a node's isolation.
	TendNode Action = "tend a node"
	// RekeySecrets is to seal all secrets anew, whose values stay what they are.
	RekeySecrets Action = "seal secrets anew"
	// Backup is to take all of the state and the modules away, in one file.
	Backup Action = "take a backup"
	// Connect is to be a node: to be sent its collections, and to report of it.
	Connect Action = "be the node"
	// ByMethod is no action: a route of REST is what the gRPC method is that it becomes.
	ByMethod Action = "by the gRPC method"
	// ByRegistry is none either: a request to the registry is what OfRegistry says.
	ByRegistry Action = "by the registry's route"
)

// place is what an action is about.
type place int

const (
	anywhere place = iota
	inLayer
	inRepository
	asNode
)

// need is what an action takes.
type need struct {
	// roles of which one is enough; nil: everybody may.
	roles []Role
	place place
	// writes: a refusal is worth a line in the log.
	writes bool
}

var readers = []Role{Viewer, Publisher, Operator, Approver}

// needs is the table of what each action takes. What is not here nobody may.
var needs = map[Action]need{
	Probe:          {},
	Fetch:          {roles: append(slices.Clone(readers), Node)},
	Read:           {roles: readers},
	Push:           {roles: []Role{Publisher}, place: inRepository, writes: true},
	CreateRelease:  {roles: []Role{Publisher}, place: inLayer, writes: true},
	WriteResource:  {roles: []Role{Publisher}, place: inLayer, writes: true},
	WriteSecret:    {roles: []Role{Publisher}, place: inLayer, writes: true},
	MoveRollout:    {roles: []Role{Operator}, place: inLayer, writes: true},
	ApproveRollout: {roles: []Role{Approver}, place: inLayer, writes: true},
	DisableFilter:  {roles: []Role{Operator}, place: inLayer, writes: true},
	ExposeFilter:   {roles: []Role{Approver}, place: inLayer, writes: true},
	FreezeRollouts: {roles: []Role{Operator}, place: inLayer, writes: true},
	TendNode:       {roles: []Role{Operator}, writes: true},
	RekeySecrets:   {roles: []Role{Operator}, writes: true},
	// It changes nothing, and a refusal is worth a line all the same.
	Backup:  {roles: []Role{Operator}, writes: true},
	Connect: {roles: []Role{Node}, place: asNode, writes: true},
}

// Writes says whether an action changes anything, so that a refusal is worth a line in the log.
func (a Action) Writes() bool { return needs[a].writes }
