package access

import (
	"github.com/waft-project/waft/distributor/model"
)

// Policy is who may do what. It is not changed once it is made (Parse) and may be used concurrently.
type Policy struct {
	name, contact string
	bindings      []binding
}

// Name of the policy, and who keeps it; the second may be empty.
func (p *Policy) Name() string    { return p.name }
func (p *Policy) Contact() string { return p.contact }

// binding gives roles to whoever one of its subjects fits.
type binding struct {
	name         string
	subjects     []certificatePattern
	roles        []Role
	layers       []string
	repositories []string
}

// Object is what an action is about. The zero value is nothing in particular.
type Object struct {
	// Layer of a release or of a rollout.
	Layer model.Layer
	// Repository of the registry.
	Repository string
	// Node is the id that somebody wants to be.
	Node string
	// StartedBy is who started the rollout that is to be approved: nobody approves what is their own.
	StartedBy string
}

// Limits of a policy.
const (
	// MaxPolicyBytes bounds its text.
	MaxPolicyBytes = 256 << 10
	// MaxBindings bounds its bindings, and MaxEntries each list in one.
	MaxBindings = 1000
	MaxEntries  = 100
)
