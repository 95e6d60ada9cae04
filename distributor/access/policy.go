package access

import (
	"github.com/waft-project/waft/distributor/model"
)

// Policy is who may do what. It is not changed once it is made (Parse) and may be used concurrently.
type Policy struct {
	name, contact string
	issuers       []Issuer
	bindings      []binding
}

// Name of the policy, and who keeps it; the second may be empty.
func (p *Policy) Name() string    { return p.name }
func (p *Policy) Contact() string { return p.contact }

// Issuers are whose tokens count.
func (p *Policy) Issuers() []Issuer { return p.issuers }

// Issuer is an OpenID Connect issuer whose tokens count. Two that are equal are the same.
type Issuer struct {
	// Name is what bindings call it. A DNS label.
	Name string
	// URL of the issuer, as its tokens have it (iss), and the audience that they must be for (aud).
	URL, Audience string
	// JWKS is the URL of its keys; empty: discovered.
	JWKS string
	// UserClaim and GroupsClaim are the claims that say who somebody is.
	UserClaim, GroupsClaim string
}

// What the claims of an issuer are called where the policy does not say.
const (
	DefaultUserClaim   = "sub"
	DefaultGroupsClaim = "groups"
)

// subject is whom a binding is about: a name in a certificate, or a user or a group of an issuer.
type subject struct {
	certificate         certificatePattern
	issuer, user, group string
}

// binding gives roles to whoever one of its subjects fits.
type binding struct {
	name         string
	subjects     []subject
	roles        []Role
	layers       []string
	repositories []string
	// nodes are patterns of the ids that whoever it is about may have, beside that in its name.
	nodes []string
	// labels are what such a node must say of itself.
	labels labels
}

// Object is what an action is about. The zero value is nothing in particular.
type Object struct {
	// Layer of a release or of a rollout.
	Layer model.Layer
	// Repository of the registry.
	Repository string
	// Node is the id that somebody wants to be.
	Node string
	// Labels are what it says of itself, by which rollouts find it. Nil, where it says nothing of them: they are not asked about then.
	Labels map[string]string
	// StartedBy is who started the rollout that is to be approved: nobody approves what is their own.
	StartedBy string
}

// Limits of a policy.
const (
	// MaxPolicyBytes bounds its text.
	MaxPolicyBytes = 256 << 10
	// MaxBindings bounds its bindings, MaxEntries each list in one, and MaxIssuers its issuers.
	MaxBindings = 1000
	MaxIssuers  = 20
	MaxEntries  = 100
)
