package access

// Role is what a binding gives.
type Role string

// The roles. Each of the first four may read everything; a node may not.
const (
	// Viewer reads releases, rollouts, nodes, the audit log, metrics and what is in the registry.
	Viewer Role = "viewer"
	// Publisher pushes to repositories, and creates releases in layers.
	Publisher Role = "publisher"
	// Operator starts and steers rollouts in layers, and takes filters out in an emergency, where a layer emergency/FILTER is given.
	Operator Role = "operator"
	// Approver lets rollouts of others go on where a wave asks for an approval, and lets unauthorized requests pass in an emergency, where a layer
	// emergency/FILTER is given.
	Approver Role = "approver"
	// Node is one sink: it is sent its own collections and reports of itself, and fetches modules and signatures.
	Node Role = "node"
)

// Roles are all there are.
func Roles() []Role { return []Role{Viewer, Publisher, Operator, Approver, Node} }
