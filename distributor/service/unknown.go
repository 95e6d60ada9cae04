package service

import (
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/waft-project/waft/distributor/model"
)

// unknownPrefix begins what stands for a secret while a configuration is checked. No person writes it.
const unknownPrefix = "\x00secret:"

// unknown is a string of which nothing is known but that it is one. Two are never alike but by where they stand, so that a list of two secrets has no item twice.
func unknown(use model.SecretUse) (string, error) { return unknownPrefix + use.Path, nil }

// withoutUnknown is what is wrong with a configuration, without what would depend on the content of a string that is not known here: the node's Envoy tells that,
// when it is given the value. Nil: nothing is left.
func withoutUnknown(err *jsonschema.ValidationError, value any) *jsonschema.ValidationError {
	switch err.ErrorKind.(type) {
	case *kind.Pattern, *kind.MinLength, *kind.MaxLength, *kind.Enum, *kind.Const, *kind.Format, *kind.ContentEncoding, *kind.ContentMediaType, *kind.ContentSchema:
		if isUnknown(value, err.InstanceLocation) {
			return nil
		}
	}
	if len(err.Causes) == 0 {
		return err
	}
	left := *err
	left.Causes = nil
	for _, cause := range err.Causes {
		if rest := withoutUnknown(cause, value); rest != nil {
			left.Causes = append(left.Causes, rest)
		}
	}
	// One of several is enough where the value might be what that one asks for.
	_, any := err.ErrorKind.(*kind.AnyOf)
	_, one := err.ErrorKind.(*kind.OneOf)
	if len(left.Causes) == 0 || (any || one) && len(left.Causes) < len(err.Causes) {
		return nil
	}
	return &left
}

// isUnknown says whether a secret stands at a place of a configuration.
func isUnknown(value any, location []string) bool {
	for _, token := range location {
		switch container := value.(type) {
		case map[string]any:
			value = container[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(container) {
				return false
			}
			value = container[i]
		default:
			return false
		}
	}
	text, ok := value.(string)
	return ok && strings.HasPrefix(text, unknownPrefix)
}

// countSecrets is how many secrets a chain names.
func countSecrets(chain model.Chain) int {
	named := map[model.SecretRef]bool{}
	for _, f := range chain.Filters {
		uses, _ := model.Secrets(f.Config) // the configuration is checked by itself
		for _, use := range uses {
			named[use.Ref] = true
		}
	}
	return len(named)
}
