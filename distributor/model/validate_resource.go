package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Limits of names of resources and types, in bytes.
const (
	// MaxCollectionName is that of a collection.
	MaxCollectionName = 253
	// MaxResourceName is that of a resource: Envoy's and Istio's own are shorter.
	MaxResourceName = 253
	// maxTypeURL is that of a type.
	maxTypeURL = 512
	// MaxListKeys is how many lists a collection, or a filter's config, may merge by key.
	MaxListKeys = 64
	// maxListPath is the length of the path of such a list.
	maxListPath = 512
)

var (
	// messageName is the full name of a protobuf message.
	messageName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	// listPath is the path of a list: members, and [] behind those that are lists themselves.
	listPath = regexp.MustCompile(`^[A-Za-z0-9_$@-]+((\[\])?\.[A-Za-z0-9_$@-]+)*$`)
	// listKey is a member.
	listKey = regexp.MustCompile(`^[A-Za-z0-9_$@-]+$`)
)

// ValidateCollection checks the name of a collection that resources may be of: DNS labels with slashes between, at most MaxCollectionName bytes. The names below waft/ are
// waft's own, and below envoy/ there are those of Envoy's resources only.
func ValidateCollection(object, field, name string) error {
	const next = "use words of lower-case letters, digits and - with slashes between, such as flags or acme/flags"
	if name == "" || len(name) > MaxCollectionName {
		return Invalidf(object, field, next, "the name of a collection has 1 to %d bytes, not %d", MaxCollectionName, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if reason := dnsLabelProblem(part); reason != "" {
			return Invalidf(object, field, next, "the part %q of the collection's name %s", shorten(part), reason)
		}
	}
	switch first, _, _ := strings.Cut(name, "/"); {
	case first == reservedCollections:
		return Invalidf(object, field, "use another name", "collections below %s/ are waft's own", reservedCollections)
	case first == envoyCollections && EnvoyType(name) == "":
		return Invalidf(object, field, "use one of "+strings.Join(slices.Sorted(maps.Keys(envoyResources)), ", ")+", or another name", "there is no collection %q of Envoy's", shorten(name))
	}
	return nil
}

// ValidateResourceName checks 1 to MaxResourceName visible characters of ASCII, which covers what Envoy and Istio call theirs.
func ValidateResourceName(object, field, name string) error {
	const next = "use visible characters of ASCII without spaces"
	if name == "" || len(name) > MaxResourceName {
		return Invalidf(object, field, next, "the name of a resource has 1 to %d bytes, not %d", MaxResourceName, len(name))
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return Invalidf(object, field, next, "the name %q holds %q", shorten(name), name[i])
		}
	}
	return nil
}

func validateTypeURL(object, field, url string) error {
	const next = "write type.googleapis.com/ and the full name of the message"
	at := strings.LastIndexByte(url, '/')
	if at < 1 || len(url) > maxTypeURL || !messageName.MatchString(url[at+1:]) {
		return Invalidf(object, field, next, "%q is no type of a message", shorten(url))
	}
	for i := range at {
		if url[i] <= ' ' || url[i] > '~' {
			return Invalidf(object, field, next, "%q is no type of a message", shorten(url))
		}
	}
	return nil
}

// ValidateLists checks which lists are merged by key; field is their path. Every problem is an *Error of kind ErrInvalid.
func ValidateLists(object, field string, lists []ListKey) error {
	if len(lists) > MaxListKeys {
		return Invalidf(object, field, "declare fewer", "%d lists are more than %d", len(lists), MaxListKeys)
	}
	var problems []error
	seen := map[string]bool{}
	for i, l := range lists {
		at := fmt.Sprintf("%s[%d]", field, i)
		if len(l.Path) > maxListPath || !listPath.MatchString(l.Path) {
			problems = append(problems, Invalidf(object, at+".path", "write members with dots between, and [] behind a list inside: rules[].headers", "%q is no path of a list", shorten(l.Path)))
		}
		if len(l.Key) > maxListPath || !listKey.MatchString(l.Key) {
			problems = append(problems, Invalidf(object, at+".key", "name the member by which items are told apart", "%q is no member", shorten(l.Key)))
		}
		if seen[l.Path] {
			problems = append(problems, Invalidf(object, at+".path", "give each list once", "%q stands there already", shorten(l.Path)))
		}
		seen[l.Path] = true
	}
	return errors.Join(problems...)
}

// ValidateCollectionSpec checks a declaration. Every problem is an *Error of kind ErrInvalid.
func ValidateCollectionSpec(object string, c CollectionSpec) error {
	problems := []error{ValidateCollection(object, "metadata.name", c.Name), ValidateLists(object, "spec.lists", c.Lists)}
	if c.Type != "" && (len(c.Type) > maxTypeURL || !messageName.MatchString(c.Type)) {
		problems = append(problems, Invalidf(object, "spec.type", "write the full name of the message: acme.flags.v1.Flag", "%q is no message", shorten(c.Type)))
	}
	if fixed := EnvoyType(c.Name); fixed != "" && c.Type != "" && c.Type != fixed {
		problems = append(problems, Invalidf(object, "spec.type", "leave it out", "%s holds %s and nothing else", c.Name, fixed))
	}
	return errors.Join(problems...)
}

// ValidateResource checks one resource; at is the path of its document, empty or with a dot at its end. Every problem is an *Error of kind ErrInvalid.
func ValidateResource(object, at string, r ResourceSpec) error {
	problems := []error{
		ValidateCollection(object, at+"collection", r.Collection),
		ValidateResourceName(object, at+"name", r.Name),
		validateTypeURL(object, at+"spec."+TypeMember, r.Type),
	}
	if fixed := EnvoyType(r.Collection); fixed != "" && r.Message() != fixed {
		problems = append(problems, Invalidf(object, at+"spec."+TypeMember, "write "+TypeURLPrefix+fixed, "%s holds nothing else", r.Collection))
	}
	if r.Descriptors != "" {
		problems = append(problems, ValidateDigest(object, at+"descriptors", r.Descriptors))
	}
	if r.size() > MaxResource {
		problems = append(problems, Invalidf(object, at+"spec", "make it smaller, or split it", "the resource has %d bytes, more than %d", r.size(), MaxResource))
	}
	if r.Fields != nil {
		if r.Opaque != nil {
			problems = append(problems, Invalidf(object, at+"spec", "give one of them", "it has fields, and is opaque"))
		}
		if canonical, err := Canonical(r.Fields); err != nil {
			problems = append(problems, configError(object, at+"spec", err))
		} else if canonical[0] != '{' {
			problems = append(problems, Invalidf(object, at+"spec", "write the message's fields", "it is not an object"))
		} else if n, paths := countFields(canonical); n > MaxFields || paths > MaxFieldPaths {
			problems = append(problems, Invalidf(object, at+"spec", "split it, or give it as an opaque message", "it has %d fields with paths of %d bytes, more than %d or %d", n, paths, MaxFields, MaxFieldPaths))
		}
	}
	return errors.Join(problems...)
}

// countFields counts what MaxFields and MaxFieldPaths bound, of JSON that is well formed.
func countFields(text json.RawMessage) (fields, paths int) {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return 0, 0
	}
	var count func(value any, path int)
	count = func(value any, path int) {
		object, ok := value.(map[string]any)
		if !ok {
			return
		}
		for name, inner := range object {
			at := path + 1 + len(name)
			fields, paths = fields+1, paths+at
			count(inner, at)
		}
	}
	count(value, 0)
	return fields, paths
}

// validateResources checks those of a release together with the declarations that came with them.
func validateResources(object string, r Release) error {
	var problems []error
	size, collections := 0, map[string]bool{}
	for _, part := range []struct {
		field     string
		resources []ResourceSpec
	}{{"spec.resources", r.Resources}, {"spec.resourceOverrides", r.ResourceOverrides}} {
		first := map[string]int{}
		for i, one := range part.resources {
			at := fmt.Sprintf("%s[%d]", part.field, i)
			problems = append(problems, ValidateResource(object, at+".", one))
			if j, again := first[one.Key()]; again {
				problems = append(problems, Invalidf(object, at+".name", "give each resource once", "%s stands in %s[%d] already", shorten(one.Key()), part.field, j))
			} else {
				first[one.Key()] = i
			}
			size += one.size()
			collections[one.Collection] = true
		}
	}
	if n := len(r.Resources) + len(r.ResourceOverrides); n > MaxResources {
		problems = append(problems, Invalidf(object, "spec.resources", "split the release by layer", "%d resources are more than %d", n, MaxResources))
	}
	if len(collections) > MaxReleaseCollections {
		problems = append(problems, Invalidf(object, "spec.resources", "split the release by layer", "%d collections are more than %d", len(collections), MaxReleaseCollections))
	}
	if size > MaxReleaseResources {
		problems = append(problems, Invalidf(object, "spec.resources", "split the release by layer", "the resources have %d bytes together, more than %d", size, MaxReleaseResources))
	}
	declared := map[string]bool{}
	for i, c := range r.Declared {
		at := fmt.Sprintf("spec.declared[%d]", i)
		problems = append(problems, ValidateCollection(object, at+".name", c.Name), ValidateLists(object, at+".lists", c.Lists))
		if declared[c.Name] || !collections[c.Name] {
			problems = append(problems, Invalidf(object, at+".name", "leave it out", "%s is declared twice, or without a resource", shorten(c.Name)))
		}
		declared[c.Name] = true
	}
	return errors.Join(problems...)
}
