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
		// Disable is left out where there is none, so that releases from before there was such a thing keep their hashes.
		Disable *disableContent `json:"disable,omitempty"`
	}
	disableContent struct {
		Filter           string `json:"filter"`
		PassUnauthorized bool   `json:"passUnauthorized,omitempty"`
	}
)

func contentOf(f FilterSpec) filterContent {
	c := filterContent{Name: f.Name, Phase: f.Phase, Priority: f.Priority, FailurePolicy: f.FailurePolicy, Config: f.Config}
	if f.Module != nil {
		c.Module = &moduleContent{Artifact: f.Module.Artifact, Digest: f.Module.Digest, Size: f.Module.Size}
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
			f.Module = &Module{Artifact: c.Module.Artifact, Digest: c.Module.Digest, Size: c.Module.Size}
		}
		specs = append(specs, f)
	}
	return specs
}

// ContentHash is the hash of one filter's content, sha256:HEX, by the rules of Release.ContentHash.
func (f FilterSpec) ContentHash() (string, error) {
	return HashOf(contentOf(f))
}

// ChainHash is the identity of a chain of these filters in this order: sha256:HEX of the canonical JSON of their contents,
// by the rules of Release.ContentHash. An empty chain has a hash too.
func ChainHash(filters []RenderedFilter) (string, error) {
	contents := make([]filterContent, 0, len(filters))
	for _, f := range filters {
		contents = append(contents, contentOf(f.FilterSpec))
	}
	return HashOf(contents)
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
