package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Layouts finds the artifacts at the tags where PushLayouts would have put a module beside the reference's tag: TAG itself, and
// TAG-LAYOUT for each layout; a reference that ends with a layout's name is looked at in both ways. What is not there, or holds
// no module, is left out. Whether they hold one module is for the caller to see: anybody may have pushed to those tags. A
// reference without a tag gives that artifact alone.
func (c *Client) Layouts(ctx context.Context, ref Reference) ([]Artifact, error) {
	ref = ref.WithDefaults()
	if ref.Tag == "" {
		a, err := c.Resolve(ctx, ref)
		if err != nil {
			return nil, err
		}
		return []Artifact{a}, nil
	}
	ref.Digest = ""
	var found []Artifact
	for _, tag := range layoutTags(ref.Tag) {
		at := ref
		at.Tag = tag
		a, err := c.Resolve(ctx, at)
		switch {
		case err == nil:
			found = append(found, a)
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrUnsupportedLayout), errors.Is(err, ErrInvalidManifest):
		default:
			return nil, err
		}
	}
	return found, nil
}

// layoutTags are the tags that belong together, the plain one first.
func layoutTags(tag string) []string {
	base := tag
	for _, l := range WrittenLayouts() {
		if plain, ok := strings.CutSuffix(tag, LayoutTag("", l)); ok && plain != "" {
			base = plain
		}
	}
	tags := []string{base}
	for _, l := range WrittenLayouts() {
		tags = append(tags, LayoutTag(base, l))
	}
	if !slices.Contains(tags, tag) {
		tags = append(tags, tag)
	}
	return slices.DeleteFunc(tags, func(t string) bool { return validTag(t) != nil })
}

// Readers are those that would take the image, by what its manifest says; ReadAs says what each gets out of it.
func (a Artifact) Readers() []Reader {
	readers := []Reader{}
	var m imageJSON
	if err := json.Unmarshal(a.ImageManifest, &m); err != nil {
		return readers
	}
	for _, r := range Readers() {
		if _, err := r.readings(m); err == nil {
			readers = append(readers, r)
		}
	}
	return readers
}
