package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// APIVersion is the version of the documents that people write, and part of what a release's hash covers.
const APIVersion = "waft.dev/v1"

// The content that a hash covers. The types are apart from the model's, so that a new field of the model changes no hash
// until it is put here on purpose. Fields that say nothing are left out.
type (
	moduleContent struct {
		Artifact string `json:"artifact"`
		Digest   string `json:"digest"`
		Size     int64  `json:"size"`
		// Lists are left out where there are none, as those of modules are from before there was such a thing.
		Lists []ListKey `json:"lists,omitempty"`
	}
	filterContent struct {
		Name          string          `json:"name"`
		Module        *moduleContent  `json:"module,omitempty"`
		Phase         Phase           `json:"phase,omitempty"`
		Priority      *int32          `json:"priority,omitempty"`
		FailurePolicy FailurePolicy   `json:"failurePolicy,omitempty"`
		Config        json.RawMessage `json:"config,omitempty"`
	}
	releaseContent struct {
		APIVersion string          `json:"apiVersion"`
		Layer      Layer           `json:"layer"`
		Filters    []filterContent `json:"filters"`
		Overrides  []filterContent `json:"overrides"`
		// Resources and what belongs to them, and Disable, are left out where there are none, so that releases from before there were such things keep their hashes.
		Resources         []resourceContent `json:"resources,omitempty"`
		ResourceOverrides []resourceContent `json:"resourceOverrides,omitempty"`
		Declared          []listsContent    `json:"declared,omitempty"`
		Disable           *disableContent   `json:"disable,omitempty"`
	}
	resourceContent struct {
		Collection  string          `json:"collection"`
		Name        string          `json:"name"`
		Type        string          `json:"type"`
		Descriptors string          `json:"descriptors,omitempty"`
		Fields      json.RawMessage `json:"fields,omitempty"`
		Opaque      []byte          `json:"opaque,omitempty"`
	}
	listsContent struct {
		Collection string    `json:"collection"`
		Lists      []ListKey `json:"lists"`
	}
	chainContent struct {
		Filters   []filterContent   `json:"filters"`
		Resources []resourceContent `json:"resources"`
	}
	disableContent struct {
		Filter           string `json:"filter"`
		PassUnauthorized bool   `json:"passUnauthorized,omitempty"`
	}
)

func contentOf(f FilterSpec) filterContent {
	c := filterContent{Name: f.Name, Phase: f.Phase, Priority: f.Priority, FailurePolicy: f.FailurePolicy, Config: f.Config}
	if f.Module != nil {
		c.Module = &moduleContent{Artifact: f.Module.Artifact, Digest: f.Module.Digest, Size: f.Module.Size, Lists: sortedLists(f.Module.Lists)}
	}
	return c
}

// contentsOf sorts by name: the order in which a release lists its filters means nothing.
func contentsOf(filters []FilterSpec) []filterContent {
	contents := make([]filterContent, 0, len(filters))
	for _, f := range filters {
		contents = append(contents, contentOf(f))
	}
	slices.SortStableFunc(contents, func(a, b filterContent) int { return strings.Compare(a.Name, b.Name) })
	return contents
}

// ContentHash is the identity of a release: sha256:HEX of CanonicalForm.
func (r Release) ContentHash() (string, error) {
	text, err := r.CanonicalForm()
	if err != nil {
		return "", err
	}
	return Digest(text), nil
}

// CanonicalForm is the canonical JSON (RFC 8785) of a release's layer, filters and overrides, or of what it disables, which is what is hashed and signed. Modules
// count by artifact, digest and size; their references, the release's name and who made it do not count, nor does the
// order of the filters.
func (r Release) CanonicalForm() ([]byte, error) {
	content := releaseContent{APIVersion: APIVersion, Layer: r.Layer, Filters: contentsOf(r.Filters), Overrides: contentsOf(r.Overrides)}
	content.Resources, content.ResourceOverrides = resourceContents(r.Resources), resourceContents(r.ResourceOverrides)
	for _, c := range r.Declared {
		content.Declared = append(content.Declared, listsContent{Collection: c.Name, Lists: sortedLists(c.Lists)})
	}
	slices.SortStableFunc(content.Declared, func(a, b listsContent) int { return strings.Compare(a.Collection, b.Collection) })
	if r.Disable != nil {
		disable := disableContent(*r.Disable)
		content.Disable = &disable
	}
	return CanonicalOf(content)
}

// ParseCanonicalForm reads a release of that name back from its canonical form, and checks it with ValidateRelease. A text that is not
// exactly what CanonicalForm gives, of this version, is an *Error of kind ErrInvalid. What the form does not hold is left empty.
func ParseCanonicalForm(name string, text []byte) (Release, error) {
	object := "release/" + shorten(name)
	const next = "get it from the distributor that created it, or use a newer waft"
	var content releaseContent
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&content); err != nil {
		return Release{}, Invalidf(object, "", next, "its canonical form cannot be read: %v", err)
	}
	if content.APIVersion != APIVersion {
		return Release{}, Invalidf(object, "apiVersion", next, "it is %q, want %s", shorten(content.APIVersion), APIVersion)
	}
	r := Release{
		ID: ReleaseID{Name: name, Hash: Digest(text)}, Layer: content.Layer,
		Filters: specsOf(content.Filters), Overrides: specsOf(content.Overrides),
		Resources: resourcesOf(content.Resources), ResourceOverrides: resourcesOf(content.ResourceOverrides),
	}
	for _, c := range content.Declared {
		r.Declared = append(r.Declared, CollectionSpec{Name: c.Collection, Lists: c.Lists})
	}
	if content.Disable != nil {
		disable := Disabling(*content.Disable)
		r.Disable = &disable
	}
	again, err := r.CanonicalForm()
	if err != nil || !bytes.Equal(again, text) {
		return Release{}, Invalidf(object, "", next, "it is not in its canonical form")
	}
	return r, ValidateRelease(r)
}

func specsOf(contents []filterContent) []FilterSpec {
	var specs []FilterSpec
	for _, c := range contents {
		f := FilterSpec{Name: c.Name, Phase: c.Phase, Priority: c.Priority, FailurePolicy: c.FailurePolicy, Config: c.Config}
		if c.Module != nil {
			f.Module = &Module{Artifact: c.Module.Artifact, Digest: c.Module.Digest, Size: c.Module.Size, Lists: c.Module.Lists}
		}
		specs = append(specs, f)
	}
	return specs
}

// ContentHash is the hash of one filter's content, sha256:HEX, by the rules of Release.ContentHash.
func (f FilterSpec) ContentHash() (string, error) {
	return HashOf(contentOf(f))
}

// ContentHash is the hash of one resource's content, sha256:HEX, by the rules of Release.ContentHash.
func (r ResourceSpec) ContentHash() (string, error) { return HashOf(resourceContentOf(r)) }

func resourceContentOf(r ResourceSpec) resourceContent {
	return resourceContent{Collection: r.Collection, Name: r.Name, Type: r.Type, Descriptors: r.Descriptors, Fields: r.Fields, Opaque: r.Opaque}
}

// resourceContents sorts by collection and name, as contentsOf does by name.
func resourceContents(resources []ResourceSpec) []resourceContent {
	sorted := slices.Clone(resources)
	slices.SortStableFunc(sorted, compareResources)
	var contents []resourceContent
	for _, r := range sorted {
		contents = append(contents, resourceContentOf(r))
	}
	return contents
}

// sortedLists sorts by path: the order in which lists are declared means nothing.
func sortedLists(lists []ListKey) []ListKey {
	lists = slices.Clone(lists)
	slices.SortFunc(lists, func(a, b ListKey) int { return strings.Compare(a.Path, b.Path) })
	return lists
}

func resourcesOf(contents []resourceContent) []ResourceSpec {
	var resources []ResourceSpec
	for _, c := range contents {
		resources = append(resources, ResourceSpec{Collection: c.Collection, Name: c.Name,
			ResourceBody: ResourceBody{Type: c.Type, Descriptors: c.Descriptors, Fields: c.Fields, Opaque: c.Opaque}})
	}
	return resources
}

// ChainHash is the identity of a chain of these filters in this order, with these resources in whatever order: sha256:HEX of the canonical JSON of their contents,
// by the rules of Release.ContentHash. An empty chain has a hash too; one without resources has the hash that it had before there were any.
func ChainHash(filters []RenderedFilter, resources []RenderedResource) (string, error) {
	contents := make([]filterContent, 0, len(filters))
	for _, f := range filters {
		contents = append(contents, contentOf(f.FilterSpec))
	}
	if len(resources) == 0 {
		return HashOf(contents)
	}
	specs := make([]ResourceSpec, 0, len(resources))
	for _, r := range resources {
		specs = append(specs, r.ResourceSpec)
	}
	return HashOf(chainContent{Filters: contents, Resources: resourceContents(specs)})
}

// Seal completes a release: the default layer, configs in canonical form, and the hash. It checks the result with
// ValidateRelease. The release given is not changed.
func Seal(r Release) (Release, error) {
	sealed := r.Clone()
	if sealed.Layer == "" {
		sealed.Layer = LayerGlobal
	}
	object := "release/" + shorten(sealed.ID.Name)
	err := errors.Join(
		canonicalConfigs(object, "spec.filters", sealed.Filters),
		canonicalConfigs(object, "spec.overrides", sealed.Overrides),
		canonicalFields(object, "spec.resources", sealed.Resources),
		canonicalFields(object, "spec.resourceOverrides", sealed.ResourceOverrides),
	)
	if err != nil {
		return Release{}, err
	}
	if err := ValidateRelease(sealed); err != nil {
		return Release{}, err
	}
	if sealed.ID.Hash, err = sealed.ContentHash(); err != nil {
		return Release{}, fmt.Errorf("%s: %w", object, err)
	}
	return sealed, nil
}

func canonicalConfigs(object, field string, filters []FilterSpec) error {
	var problems []error
	for i := range filters {
		if filters[i].Config == nil {
			continue
		}
		config, err := Canonical(filters[i].Config)
		if err != nil {
			problems = append(problems, configError(object, fmt.Sprintf("%s[%d].config", field, i), err))
			continue
		}
		filters[i].Config = config
	}
	return errors.Join(problems...)
}

func canonicalFields(object, field string, resources []ResourceSpec) error {
	var problems []error
	for i := range resources {
		if resources[i].Fields == nil {
			continue
		}
		fields, err := Canonical(resources[i].Fields)
		if err != nil {
			problems = append(problems, configError(object, fmt.Sprintf("%s[%d].spec", field, i), err))
			continue
		}
		resources[i].Fields = fields
	}
	return errors.Join(problems...)
}

// configError puts the path within a config behind the path of the config.
func configError(object, field string, err error) error {
	message := err.Error()
	if at, ok := errors.AsType[*JSONError](err); ok {
		message = at.Message
		switch {
		case strings.HasPrefix(at.Path, "["):
			field += at.Path
		case at.Path != "":
			field += "." + at.Path
		}
	}
	return &Error{Kind: ErrInvalid, Object: object, Field: field, Message: message, Next: "correct it", Cause: err}
}
