package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of names, in bytes.
const (
	// MaxName is that of a DNS label (RFC 1123): names of filters, releases, rollouts and layers.
	MaxName = 63
	// MaxNodeID is that of a node's id.
	MaxNodeID = 253
	// MaxLabels is how many labels a node may have.
	MaxLabels = 64
	// MaxLabelPrefix is that of the part of a label's key before the slash.
	MaxLabelPrefix = 253
)

const (
	digestPrefix = "sha256:"
	// digestHex is how many hexadecimal digits a sha256 has.
	digestHex = 64
)

// ValidateName checks a DNS label (RFC 1123): lower-case letters, digits and "-", beginning and ending with a letter or
// digit, 1 to MaxName bytes. object and field name what is checked in the error.
func ValidateName(object, field, name string) error {
	if reason := dnsLabelProblem(name); reason != "" {
		return Invalidf(object, field, "use lower-case letters, digits and -, at most 63 of them", "the name %q %s", shorten(name), reason)
	}
	return nil
}

// ValidateNodeID checks the id of a node: 1 to MaxNodeID of the characters A-Z a-z 0-9 . _ - ~ : @ +, and neither "."
// nor "..". They stand in URLs and keys as they are, and cover the ids that Envoy, Istio and Kubernetes use.
func ValidateNodeID(object, field, id string) error {
	const next = "use letters, digits and . _ - ~ : @ +"
	if id == "" || len(id) > MaxNodeID {
		return Invalidf(object, field, next, "a node's id has 1 to %d bytes, not %d", MaxNodeID, len(id))
	}
	for i := range len(id) {
		if !alphanumeric(id[i]) && strings.IndexByte("._-~:@+", id[i]) < 0 {
			return Invalidf(object, field, next, "the node's id %q holds %q", shorten(id), id[i])
		}
	}
	if id == "." || id == ".." {
		return Invalidf(object, field, next, "a node's id cannot be %q", id)
	}
	return nil
}

// ValidateLabels checks labels as Kubernetes does: keys are names of at most 63 bytes with an optional DNS prefix before a
// slash, values are empty or at most 63 of A-Z a-z 0-9 . _ - between letters or digits. At most MaxLabels.
func ValidateLabels(object, field string, labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Invalidf(object, field, "remove some", "%d labels are more than %d", len(labels), MaxLabels)
	}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if reason := labelKeyProblem(key); reason != "" {
			problems = append(problems, Invalidf(object, field, "rename it", "the label %q %s", shorten(key), reason))
		}
		if reason := labelValueProblem(labels[key]); reason != "" {
			problems = append(problems, Invalidf(object, field+"["+shorten(key)+"]", "change it", "the value %q %s", shorten(labels[key]), reason))
		}
	}
	return errors.Join(problems...)
}

// ValidateLayer checks global, team/NAME, service/NAME or emergency/FILTER.
func ValidateLayer(object, field string, layer Layer) error {
	if layer == LayerGlobal {
		return nil
	}
	kind, name, _ := strings.Cut(string(layer), "/")
	if kind != layerTeam && kind != layerService && kind != layerEmergency {
		return Invalidf(object, field, "use global, team/NAME or service/NAME", "there is no layer %q", shorten(string(layer)))
	}
	return ValidateName(object, field, name)
}

// ValidateDigest checks sha256: and 64 lower-case hexadecimal digits.
func ValidateDigest(object, field, digest string) error {
	hex, ok := strings.CutPrefix(digest, digestPrefix)
	if !ok || len(hex) != digestHex || !lowerHex(hex) {
		return Invalidf(object, field, "use sha256: and 64 lower-case hexadecimal digits", "%q is no digest", shorten(digest))
	}
	return nil
}

const (
	layerTeam    = "team"
	layerService = "service"
)

// CompareLayers orders layers as they are merged: global, then teams, then services, by name among themselves; then those that take filters out.
func CompareLayers(a, b Layer) int {
	if byRank := layerRank(a) - layerRank(b); byRank != 0 {
		return byRank
	}
	return strings.Compare(string(a), string(b))
}

func layerRank(l Layer) int {
	kind, _, _ := strings.Cut(string(l), "/")
	switch kind {
	case string(LayerGlobal):
		return 0
	case layerTeam:
		return 1
	case layerEmergency:
		return 3
	default:
		return 2
	}
}

func dnsLabelProblem(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > MaxName {
		return fmt.Sprintf("has %d bytes, more than %d", len(name), MaxName)
	}
	for i := range len(name) {
		b := name[i]
		if b != '-' && (b < 'a' || b > 'z') && (b < '0' || b > '9') {
			return fmt.Sprintf("holds %q", b)
		}
	}
	if name[0] == '-' || name[len(name)-1] == '-' {
		return "begins or ends with -"
	}
	return ""
}

func labelKeyProblem(key string) string {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		prefix, name = "", key
	}
	if found {
		if prefix == "" || len(prefix) > MaxLabelPrefix {
			return fmt.Sprintf("has a prefix of %d bytes, not 1 to %d", len(prefix), MaxLabelPrefix)
		}
		for part := range strings.SplitSeq(prefix, ".") {
			if reason := dnsLabelProblem(part); reason != "" {
				return fmt.Sprintf("has a prefix whose part %q %s", shorten(part), reason)
			}
		}
	}
	if name == "" {
		return "has no name"
	}
	return labelValueProblem(name)
}

func labelValueProblem(value string) string {
	if value == "" {
		return ""
	}
	if len(value) > MaxName {
		return fmt.Sprintf("has %d bytes, more than %d", len(value), MaxName)
	}
	for i := range len(value) {
		if !alphanumeric(value[i]) && strings.IndexByte("._-", value[i]) < 0 {
			return fmt.Sprintf("holds %q", value[i])
		}
	}
	if !alphanumeric(value[0]) || !alphanumeric(value[len(value)-1]) {
		return "begins or ends with neither a letter nor a digit"
	}
	return ""
}

func alphanumeric(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if b := s[i]; (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return true
}
