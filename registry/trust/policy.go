package trust

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

// APIVersion and Kind are what a policy's file says that it is.
const (
	APIVersion = "waft.dev/v1"
	Kind       = "TrustPolicy"
)

// Policy says which artifacts may be used. Parse makes one; the zero value refuses everything. It is immutable, and may be
// used concurrently.
type Policy struct {
	doc  document
	keys map[string]signing.PublicKey // by name
	// identities by name, and what verifies them; nil where there are none.
	identities map[string]identity
	verifier   *keyless.Verifier
}

// Name is the policy's name, for messages.
func (p *Policy) Name() string { return p.doc.Metadata.Name }

// Expires is when the policy ends; the zero time is never.
func (p *Policy) Expires() time.Time { return p.doc.Spec.Expires }

// PublicKeys are all keys that the policy names, whether they are valid now or not: Decide tells, and says so.
func (p *Policy) PublicKeys() []signing.PublicKey {
	keys := make([]signing.PublicKey, 0, len(p.doc.Spec.Keys))
	for _, k := range p.doc.Spec.Keys {
		keys = append(keys, p.keys[k.Name])
	}
	return keys
}

// GovernsReleases says whether the policy has rules about releases. Where it has none, nothing is asked of them.
func (p *Policy) GovernsReleases() bool { return len(p.doc.Spec.Releases) > 0 }

// Revokes says whether a digest is revoked.
func (p *Policy) Revokes(d registry.Digest) bool {
	return slices.Contains(p.doc.Spec.Revoked.Digests, d)
}

// RequiredLayers are those that a node's chain must have a release of.
func (p *Policy) RequiredLayers() []string { return slices.Clone(p.doc.Spec.RequiredLayers) }

// TakesUnsigned says whether some rule takes artifacts that nobody has signed. Where the artifact's name comes from a
// stranger, such a rule takes whatever that stranger calls by a name of the rule's.
func (p *Policy) TakesUnsigned() bool {
	return slices.ContainsFunc(p.doc.Spec.Rules, func(r rule) bool { return r.Unsigned })
}

// document is the file.
type document struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

type metadata struct {
	Name string `json:"name"`
}

type spec struct {
	// Expires is when the policy ends: from then on it refuses everything. Left out: never.
	Expires time.Time `json:"expires"`
	// Registries (HOST or HOST:PORT) are the only ones that artifacts may come from. Left out: those that rules name.
	Registries []string `json:"registries"`
	Keys       []key    `json:"keys"`
	// Identities sign with certificates, and TrustedRoot (trusted_root.json, as text) says whose certificates those are.
	Identities  []identity `json:"identities"`
	TrustedRoot string     `json:"trustedRoot"`
	Revoked     revoked    `json:"revoked"`
	// Rules are tried in order: the first one whose repositories match decides.
	Rules []rule `json:"rules"`
	// Releases are rules about releases, tried in order. Left out: nothing is asked of releases.
	Releases []releaseRule `json:"releases"`
	// RequiredLayers are those that every chain must have a release of, on a node. It needs Releases.
	RequiredLayers []string `json:"requiredLayers"`
}

type key struct {
	Name string `json:"name"`
	// PublicKey in PEM.
	PublicKey string `json:"publicKey"`
	// NotBefore and NotAfter bound when a signature of the key counts: from the one on, and up to the other. They are
	// compared with the time of the decision, since nothing tells when a signature was made.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

type revoked struct {
	// Keys by their ids, whatever the policy calls them.
	Keys []signing.KeyID `json:"keys"`
	// Digests of artifacts or of modules.
	Digests []registry.Digest `json:"digests"`
}

type rule struct {
	Name string `json:"name"`
	// Repositories are patterns of HOST[:PORT]/REPOSITORY: * is any text between two slashes, and ** at the end is one
	// part or more.
	Repositories []string `json:"repositories"`
	// Unsigned takes artifacts without a signature. It must be said, and then Signatures must not be.
	Unsigned     bool          `json:"unsigned"`
	Signatures   *signatures   `json:"signatures"`
	Attestations []attestation `json:"attestations"`
}

type signatures struct {
	// Keys and identities by name.
	Keys []string `json:"keys"`
	// AtLeast is how many of them must have signed. 0: one.
	AtLeast int `json:"atLeast"`
	// Named: only signatures count that name the repository which the artifact is used from.
	Named bool `json:"named"`
}

// releaseRule is about releases by their names and layers, both of which a release's signature is over.
type releaseRule struct {
	Name string `json:"name"`
	// Releases are patterns of names: * is any text.
	Releases []string `json:"releases"`
	// Layers are patterns of layers, such as team/*. Left out: every layer but those that take filters out, which only a pattern means that
	// begins with emergency/.
	Layers     []string    `json:"layers"`
	Unsigned   bool        `json:"unsigned"`
	Signatures *signatures `json:"signatures"`
}

type attestation struct {
	Name          string   `json:"name"`
	PredicateType string   `json:"predicateType"`
	Keys          []string `json:"keys"`
	// Contains must be found in the predicate: each member of an object, each element of a list somewhere in the list,
	// any other value as it is. Left out: the predicate may say anything.
	Contains json.RawMessage `json:"contains"`
}
