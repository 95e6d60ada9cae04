package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of resources.
const (
	// MaxResource is the size of one resource's body, in bytes: of its canonical JSON, or of the message where that is opaque.
	MaxResource = 1 << 20
	// MaxResources is how many resources a release, or a layer's collection, may have.
	MaxResources = 4096
	// MaxReleaseResources is the size of the bodies of a release, or of a layer's collection, together, in bytes. What the store takes of that depends
	// on how well it compresses, and is told when it is written.
	MaxReleaseResources = 4 << 20
	// MaxFields is how many fields a resource may have that layers can give one by one, those of messages within it among them and those in lists not, and
	// MaxFieldPaths how many bytes their paths may have together: it is kept of each which layer it comes from.
	MaxFields     = 20_000
	MaxFieldPaths = 4 << 20
	// MaxReleaseCollections is how many collections a release may give resources of, and a chain may have.
	MaxReleaseCollections = 64
)

// TypeURLPrefix stands before the full name of a message where nobody asks for another.
const TypeURLPrefix = "type.googleapis.com/"

// ResourceBody is a protobuf message of a resource: by its fields, where its type is known, or as it is. The zero value is an opaque message without a type,
// which no resource may have.
type ResourceBody struct {
	// Type is the URL of the message's type, as in google.protobuf.Any: type.googleapis.com/acme.flags.v1.Flag.
	Type string `json:"type"`
	// Descriptors is the digest of the descriptor set by which the fields are understood, sha256:HEX. Empty: the type is one that waft has in itself, or
	// the message is opaque.
	Descriptors string `json:"descriptors,omitempty"`
	// Fields are the message in the JSON form of protobuf, canonical, its fields by their JSON names; nil: the message is opaque.
	Fields json.RawMessage `json:"fields,omitempty"`
	// Opaque is the serialized message where Fields is nil. It is never merged: a layer gives it whole.
	Opaque []byte `json:"opaque,omitempty"`
}

// IsOpaque says whether the message is passed through untouched.
func (b ResourceBody) IsOpaque() bool { return b.Fields == nil }

// Message is the full name of the message's type.
func (b ResourceBody) Message() string { return b.Type[strings.LastIndexByte(b.Type, '/')+1:] }

// size is what MaxResource bounds.
func (b ResourceBody) size() int { return len(b.Fields) + len(b.Opaque) }

// The members of a body in JSON, as in the JSON form of google.protobuf.Any.
const (
	// TypeMember holds the URL of the type.
	TypeMember = "@type"
	// OpaqueMember holds an opaque message, in base64.
	OpaqueMember = "value"
)

// JSON is the body as people read it: an object with @type and the fields, or with @type and value. It is canonical.
func (b ResourceBody) JSON() (json.RawMessage, error) {
	if b.IsOpaque() {
		return CanonicalOf(map[string]any{TypeMember: b.Type, OpaqueMember: append([]byte{}, b.Opaque...)}) // not null where it is empty
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b.Fields, &members); err != nil {
		return nil, fmt.Errorf("fields of a %s: %w", b.Type, err)
	}
	url, err := json.Marshal(b.Type)
	if err != nil {
		return nil, err
	}
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	members[TypeMember] = url
	return CanonicalOf(members)
}

// SplitBody takes a body as people write it apart: the URL of its type, and its other members as canonical JSON. Errors are of kind ErrInvalid and name the field below
// field.
func SplitBody(object, field string, text json.RawMessage) (typeURL string, members json.RawMessage, err error) {
	const next = `write {"@type": type.googleapis.com/NAME} with the message's fields, or with its bytes as value`
	canonical, err := Canonical(text)
	if err != nil {
		return "", nil, configError(object, field, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &all); err != nil || all == nil {
		return "", nil, Invalidf(object, field, next, "it is not an object")
	}
	if err := json.Unmarshal(all[TypeMember], &typeURL); err != nil || typeURL == "" {
		return "", nil, Invalidf(object, field+"."+TypeMember, next, "the type of the message is missing")
	}
	if err := validateTypeURL(object, field+"."+TypeMember, typeURL); err != nil {
		return "", nil, err
	}
	delete(all, TypeMember)
	members, err = CanonicalOf(all)
	return typeURL, members, err
}

// ResourceSpec is one resource as a layer's release gives it, or as a rendered chain has it.
type ResourceSpec struct {
	// Collection and Name key the merge.
	Collection string `json:"collection"`
	Name       string `json:"name"`
	ResourceBody
}

// Key is COLLECTION:NAME, which no other resource has, and no filter.
func (r ResourceSpec) Key() string { return r.Collection + ":" + r.Name }

// StoredResource is a resource as a layer keeps it between releases, until it is applied anew or deleted. Nothing runs by it: a release takes it as it is then.
type StoredResource struct {
	Layer Layer `json:"layer"`
	ResourceSpec
	// Version is ContentHash.
	Version   string    `json:"version"`
	UpdatedAt time.Time `json:"updatedAt"`
	UpdatedBy string    `json:"updatedBy"`
	Reason    string    `json:"reason,omitempty"`
}

// RenderedResource is a resource of a rendered chain.
type RenderedResource struct {
	ResourceSpec
	// Version is ContentHash; metadata.version of the resource.
	Version string `json:"version"`
	// Bytes are the message as it travels. They follow from the body, take no part in any hash, and are nil in what merge.Render gives; see ResourceBody.
	Bytes []byte `json:"bytes,omitempty"`
}

// TakenCollection is a collection of a layer as a release took it. It takes no part in any hash: what was taken does.
type TakenCollection struct {
	Name string `json:"name"`
	// Version is that of the layer's collection then, see VersionOf.
	Version string `json:"version"`
}

// VersionOf is the version of a collection of resources: the hash of their names and versions, in whatever order they stand.
func VersionOf(resources []StoredResource) string {
	lines := make([]string, 0, len(resources))
	for _, r := range resources {
		lines = append(lines, fmt.Sprintf("%q %q\n", r.Name, r.Version))
	}
	slices.Sort(lines)
	return Digest([]byte(strings.Join(lines, "")))
}

// Clone is a copy that shares nothing with b.
func (b ResourceBody) Clone() ResourceBody {
	b.Fields, b.Opaque = slices.Clone(b.Fields), bytes.Clone(b.Opaque)
	return b
}

// Clone is a copy that shares nothing with r.
func (r ResourceSpec) Clone() ResourceSpec {
	r.ResourceBody = r.ResourceBody.Clone()
	return r
}

// Clone is a copy that shares nothing with r.
func (r RenderedResource) Clone() RenderedResource {
	r.ResourceSpec, r.Bytes = r.ResourceSpec.Clone(), bytes.Clone(r.Bytes)
	return r
}

func cloneResources(resources []ResourceSpec) []ResourceSpec {
	resources = slices.Clone(resources)
	for i := range resources {
		resources[i] = resources[i].Clone()
	}
	return resources
}

// compareResources orders by collection, then by name.
func compareResources(a, b ResourceSpec) int {
	if byCollection := strings.Compare(a.Collection, b.Collection); byCollection != 0 {
		return byCollection
	}
	return strings.Compare(a.Name, b.Name)
}
