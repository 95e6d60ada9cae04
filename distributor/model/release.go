package model

import (
	"encoding/json"
	"time"
)

// Phase orders the filters of a chain: AUTHN, AUTHZ, STATS, then those without one. The words are Istio's.
type Phase string

// The phases. The zero value is "no phase": last in the chain, next to the router.
const (
	PhaseNone  Phase = ""
	PhaseAuthn Phase = "AUTHN"
	PhaseAuthz Phase = "AUTHZ"
	PhaseStats Phase = "STATS"
)

// FailurePolicy says what Envoy does with requests once a filter's VM has failed.
type FailurePolicy string

// The policies. The zero value means FailReload.
const (
	FailReload FailurePolicy = "FAIL_RELOAD"
	FailClosed FailurePolicy = "FAIL_CLOSED"
	FailOpen   FailurePolicy = "FAIL_OPEN"
)

// Layer is where a resource comes from: global, team/NAME or service/NAME; or emergency/FILTER, which takes one away (EmergencyLayer).
type Layer string

// LayerGlobal is the first layer, and the default.
const LayerGlobal Layer = "global"

// Module is a module by content, and the artifact that carries it.
type Module struct {
	// Reference is what a person called it. It takes no part in any hash: names move, digests do not.
	Reference string `json:"reference,omitempty"`
	// Artifact is the digest of the OCI manifest, sha256:HEX.
	Artifact string `json:"artifact"`
	// Digest is the digest of the module's bytes, sha256:HEX.
	Digest string `json:"digest"`
	// Size of the module in bytes.
	Size int64 `json:"size"`
	// Envoys are the profiles that can load it (envoy-1.40), by its manifest; empty when nothing is known.
	Envoys []string `json:"envoys,omitempty"`
	// Lists are the lists of its configuration that are merged by key, by the schema in its manifest; all others are replaced whole.
	Lists []ListKey `json:"lists,omitempty"`
	// Inline: the release was given the bytes themselves, and sinks that do not fetch modules are sent them. It takes no part in any hash: by a reference it
	// would be the same module.
	Inline bool `json:"inline,omitempty"`
}

// FilterSpec is one filter as a layer's release gives it. A field that is not set (nil, or the empty string) says
// nothing, and the other layers decide; after the merge a filter must have a module.
type FilterSpec struct {
	// Name keys the merge and is Envoy's name of the filter and its VM. A DNS label.
	Name          string        `json:"name"`
	Module        *Module       `json:"module,omitempty"`
	Phase         Phase         `json:"phase,omitempty"`
	Priority      *int32        `json:"priority,omitempty"`
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`
	// Config is the plugin configuration: canonical JSON of any value, or nil.
	Config json.RawMessage `json:"config,omitempty"`
}

// ReleaseID names a release: its name and its content hash. The zero value is "no release".
type ReleaseID struct {
	Name string `json:"name"`
	// Hash is sha256:HEX.
	Hash string `json:"hash"`
}

// String is NAME@sha256:HEX, or the empty string for the zero value.
func (id ReleaseID) String() string {
	if id == (ReleaseID{}) {
		return ""
	}
	return id.Name + "@" + id.Hash
}

// Release is an immutable set of resources that belong together.
type Release struct {
	ID    ReleaseID `json:"id"`
	Layer Layer     `json:"layer"`
	// Filters are defaults: among layers the later wins, field by field.
	Filters []FilterSpec `json:"filters,omitempty"`
	// Overrides win the other way: the earlier layer's stand.
	Overrides []FilterSpec `json:"overrides,omitempty"`
	// Resources are defaults, and ResourceOverrides overrides, as those of filters are.
	Resources         []ResourceSpec `json:"resources,omitempty"`
	ResourceOverrides []ResourceSpec `json:"resourceOverrides,omitempty"`
	// Declared are the declarations, as they were when the release was created, of those collections of its resources that have lists which are merged by key.
	// They say how these resources are laid over others, so that a later declaration changes nothing that was tested.
	Declared []CollectionSpec `json:"declared,omitempty"`
	// Taken are the layer's collections that stand among Resources.
	Taken []TakenCollection `json:"taken,omitempty"`
	// Disable is what a release of an emergency layer takes out; nil in every other layer.
	Disable   *Disabling `json:"disable,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	CreatedBy string     `json:"createdBy"`
	Reason    string     `json:"reason,omitempty"`
}
