package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Admits is nil when whoever asks may do such a thing somewhere: it is asked before it is known where. The error is as Decide's.
func (p *Policy) Admits(id Identity, a Action, now time.Time) error {
	return p.decide(id, a, nil, now)
}

// Decide is nil when whoever asks may do that there. Else the error is a *model.Error: ErrUnauthenticated for who has proved nothing, or whose proof
// has expired, and ErrDenied, which says which role is missing where, and who could give it.
func (p *Policy) Decide(id Identity, a Action, o Object, now time.Time) error {
	return p.decide(id, a, &o, now)
}

func (p *Policy) decide(id Identity, a Action, o *Object, now time.Time) error {
	needed, known := needs[a]
	switch {
	case !known:
		return &model.Error{Kind: model.ErrDenied, Object: id.Name, Message: "nobody may do this: it has no row in the table of permissions", Next: "report this as a bug of waft"}
	case needed.roles == nil:
		return nil
	case !id.Known():
		return &model.Error{Kind: model.ErrUnauthenticated, Message: "who asks has not proved who it is, and only " + roleList(needed.roles) + " may " + string(a),
			Next: p.proofs()}
	case !id.Expires.IsZero() && now.After(id.Expires):
		return &model.Error{Kind: model.ErrUnauthenticated, Object: id.Name, Message: "what it is proved by has expired at " + id.Expires.UTC().Format(time.RFC3339), Next: "renew it and connect again"}
	}
	var givers, elsewhere []string
	var mislabelled *model.Error
	for _, b := range p.bindings {
		roles := b.among(needed.roles)
		if len(roles) == 0 {
			continue
		}
		node, fits := b.fits(id)
		there := o == nil && b.reaches(needed.place) || o != nil && b.covers(needed.place, *o, node)
		switch {
		case fits && there:
			if a == ApproveRollout && o != nil && id.is(o.StartedBy) {
				return &model.Error{Kind: model.ErrDenied, Object: id.Name, Message: "may not approve the rollout: it has started it, and an approval is somebody else's", Next: "ask another approver"}
			}
			if o != nil && o.Labels != nil {
				if key := b.labels.wrong(o.Node, o.Labels); key != "" {
					if mislabelled == nil {
						mislabelled = p.mislabelled(id, b, *o, key)
					}
					continue
				}
			}
			return nil
		case fits:
			elsewhere = append(elsewhere, b.reach(needed.place, node))
		case there:
			givers = append(givers, b.name)
		}
	}
	if mislabelled != nil {
		return mislabelled
	}
	message := "may not " + string(a)
	if o != nil {
		message += o.in(needed.place)
	}
	message += ": it lacks the role " + roleList(needed.roles)
	if len(elsewhere) > 0 {
		message += " there, and has it for " + strings.Join(elsewhere, ", ")
	}
	return &model.Error{Kind: model.ErrDenied, Object: id.Name, Message: message, Next: p.ask(givers)}
}

// MayHave says whether anybody who may be a node may say that it has those labels. Which certificate a node shows is not asked, so any binding will do by which it may be
// that node; where there is none, nobody can say anything about it, and it may.
func (p *Policy) MayHave(node string, labels map[string]string) bool {
	bound := false
	for _, b := range p.bindings {
		if len(b.among(needs[Connect].roles)) == 0 || !b.mayBe(node) {
			continue
		}
		if b.labels.wrong(node, labels) == "" {
			return true
		}
		bound = true
	}
	return !bound
}

// mayBe says whether the binding is about a node of that id, or may be, by the name in its certificate.
func (b binding) mayBe(node string) bool {
	return slices.ContainsFunc(b.subjects, func(s subject) bool { return s.certificate.captures }) ||
		slices.ContainsFunc(b.nodes, func(pattern string) bool { return nodeFits(pattern, node) })
}

// mislabelled says that a node may be itself, and not with the label that it says it has by that key.
func (p *Policy) mislabelled(id Identity, b binding, o Object, key string) *model.Error {
	with := fmt.Sprintf("without the label %.320s", key)
	if value, says := o.Labels[key]; says {
		with = fmt.Sprintf("with the label %.320s=%.255s", key, value)
	}
	want := b.labels.words(key, o.Node)
	return &model.Error{Kind: model.ErrDenied, Object: id.Name,
		Message: fmt.Sprintf("may not be the node %.253q %s: the binding %s of the access policy gives it %s", o.Node, with, b.name, want),
		Next:    "say " + want + " where the node is configured (--label of waft agent and of waft bootstrap), or " + p.ask(nil)}
}

// proofs says how to prove who one is.
func (p *Policy) proofs() string {
	if len(p.issuers) == 0 {
		return "show a client certificate"
	}
	var names []string
	for _, i := range p.issuers {
		names = append(names, i.URL)
	}
	return "show a client certificate, or a bearer token of " + strings.Join(names, " or ")
}

// ask says who could give what is missing.
func (p *Policy) ask(givers []string) string {
	next := "ask whoever keeps the access policy " + p.name
	if p.contact != "" {
		next += " (" + p.contact + ")"
	}
	if len(givers) > 0 {
		const most = 3
		more := ""
		if len(givers) > most {
			givers, more = givers[:most], ", …"
		}
		next += "; its bindings " + strings.Join(givers, ", ") + more + " give that"
	}
	return next
}

// controlPlane begins the ids as which all pods of one of Istio's control planes are permitted: each of them is a node, for a mesh of its own.
const controlPlane = "istio."

// OneNode says whether all that the policy gives to whoever asks is to be the one node in its certificate. A control plane is many.
func (p *Policy) OneNode(id Identity) bool {
	one := ""
	for _, b := range p.bindings {
		node, fits := b.fits(id)
		switch {
		case !fits:
		case node == "" || len(b.nodes) > 0 || one != "" && one != node || strings.HasPrefix(node, controlPlane):
			return false
		default:
			one = node
		}
	}
	return one != ""
}

// among are those of the roles that the binding gives.
func (b binding) among(roles []Role) []Role {
	return slices.DeleteFunc(slices.Clone(roles), func(r Role) bool { return !slices.Contains(b.roles, r) })
}

// fits says whether one of the subjects is who asks, and which node it may be by that.
func (b binding) fits(id Identity) (node string, ok bool) {
	for _, s := range b.subjects {
		if node, ok := s.fits(id); ok {
			return node, true
		}
	}
	return "", false
}

func (s subject) fits(id Identity) (node string, ok bool) {
	if s.issuer != "" {
		return "", s.issuer == id.Issuer && (s.group == "" && s.user == id.User || s.group != "" && slices.Contains(id.Groups, s.group))
	}
	for _, name := range id.Certificate {
		if node, ok := s.certificate.match(name); ok {
			return node, true
		}
	}
	return "", false
}

// reaches says whether there is any object that the binding is about.
func (b binding) reaches(where place) bool {
	switch where {
	case inLayer:
		return len(b.layers) > 0
	case inRepository:
		return len(b.repositories) > 0
	}
	return true
}

// covers says whether the binding is about the object; node is the id that who asks may be by it.
func (b binding) covers(where place, o Object, node string) bool {
	switch where {
	case inLayer:
		return slices.ContainsFunc(b.layers, func(pattern string) bool { return layerFits(pattern, o.Layer) })
	case inRepository:
		return slices.ContainsFunc(b.repositories, func(pattern string) bool { return repositoryFits(pattern, o.Repository) })
	case asNode:
		return o.Node != "" && (node == o.Node || slices.ContainsFunc(b.nodes, func(pattern string) bool { return nodeFits(pattern, o.Node) }))
	}
	return true
}

// reach says in words what the binding is about.
func (b binding) reach(where place, node string) string {
	switch where {
	case inLayer:
		if len(b.layers) == 0 {
			return "no layer"
		}
		return "the layers " + strings.Join(b.layers, ", ")
	case inRepository:
		if len(b.repositories) == 0 {
			return "no repository"
		}
		return "the repositories " + strings.Join(b.repositories, ", ")
	}
	if node == "" {
		return "the nodes " + strings.Join(b.nodes, ", ")
	}
	return "the node " + node
}

// in says in words where.
func (o Object) in(where place) string {
	switch where {
	case inLayer:
		return fmt.Sprintf(" in the layer %.100q", string(o.Layer))
	case inRepository:
		return fmt.Sprintf(" to the repository %.255q", o.Repository)
	case asNode:
		return fmt.Sprintf(" %.253q", o.Node)
	}
	return ""
}

func roleList(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}
