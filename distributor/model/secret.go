package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Limits of secrets.
const (
	// MaxSecret is the size of a secret's value, in bytes.
	MaxSecret = 64 << 10
	// MaxSecretFile is the length of the path of a secret's file, in bytes, and MaxSecretEnv that of a variable's name.
	MaxSecretFile = 256
	MaxSecretEnv  = 128
	// MaxSecretVersion is the highest version of a secret that the distributor keeps: JSON's numbers are exact up to there.
	MaxSecretVersion = 1<<53 - 1
	// MaxChainSecrets is how many secrets the filters of a chain, or of a release, may name, each counted once.
	MaxChainSecrets = 64
)

// SecretMember is the only member of an object that stands for a secret in a filter's configuration, where a string may stand:
//
//	{"$secret": {"file": "/etc/waft/secrets/token"}}
//	{"$secret": {"id": "4be1…", "layer": "team/pay", "name": "token", "version": 3}}
//
// What a release, its hash, a rendered chain and the audit log hold is that object. Its value is put in its place on the node.
const SecretMember = "$secret"

// SecretRef names a secret. Exactly one of File, Env and Name is set. It is comparable.
type SecretRef struct {
	// File is the absolute path of a file of the node.
	File string `json:"file,omitempty"`
	// Env is an environment variable of the node's agent.
	Env string `json:"env,omitempty"`
	// Name is that of a secret which the distributor keeps (KeptSecret), for releases of Layer. In a release, and in a chain, Layer, Version and ID are set; who writes a
	// release may leave them out, for its own layer and the newest version.
	Name    string `json:"name,omitempty"`
	Layer   Layer  `json:"layer,omitempty"`
	Version int64  `json:"version,omitempty"`
	// ID is that of the version (SecretVersion), and tells it from one that had its number before a backup was restored.
	ID string `json:"id,omitempty"`
}

// Kept says whether the distributor keeps it.
func (r SecretRef) Kept() bool { return r.Name != "" }

// String is file:PATH, env:NAME or kept:LAYER/NAME@VERSION; it stands in ledgers, logs and reasons.
func (r SecretRef) String() string {
	switch {
	case r.Kept():
		return fmt.Sprintf("kept:%s/%s@%d", r.Layer, r.Name, r.Version)
	case r.File != "":
		return "file:" + r.File
	}
	return "env:" + r.Env
}

// check says what is wrong with a reference, and what to write; both are empty for a good one. What is wrong never tells more of it than names: whoever mistook
// the syntax may have put the value there.
func (r SecretRef) check() (problem, next string) {
	const filePath, envName = "write the absolute path of a file, without . and ..", "write the name of a variable: letters, digits and _"
	given := 0
	for _, is := range []bool{r.File != "", r.Env != "", r.Kept()} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return "it names no secret", `write {"file": PATH}, {"env": NAME} or {"name": NAME}`
	case given > 1:
		return "it names more than one secret", "leave all but one out"
	case !r.Kept() && (r.Layer != "" || r.Version != 0 || r.ID != ""):
		return "a layer, a version or an id stands beside what has none", `leave them out, or write {"name": NAME}`
	case len(r.File) > MaxSecretFile:
		return fmt.Sprintf("the path has %d bytes, more than %d", len(r.File), MaxSecretFile), filePath
	case r.File != "" && (r.File[0] != '/' || path.Clean(r.File) != r.File || r.File == "/" || strings.ContainsFunc(r.File, unprintable)):
		return "the path is not absolute, or holds what a path should not", filePath
	case len(r.Env) > MaxSecretEnv:
		return fmt.Sprintf("the variable's name has %d bytes, more than %d", len(r.Env), MaxSecretEnv), envName
	case r.Env != "" && !variable(r.Env):
		return "what it gives is no name of a variable", envName
	case r.Kept() && dnsLabelProblem(r.Name) != "":
		return "what it gives is no name of a secret", fmt.Sprintf("write one as waft secret list shows it: lower-case letters, digits and -, at most %d of them", MaxName)
	case r.Layer != "" && (ValidateLayer("", "", r.Layer) != nil || r.Layer.Disables() != ""):
		return "what it gives as the layer is none", "write global, team/NAME or service/NAME, or leave it out"
	case r.ID != "" && (r.Version == 0 || !secretID(r.ID)):
		return "what it gives as the id is none of a version", "leave it out"
	case r.Version < 0:
		return "versions are counted from 1", "write one as waft secret show shows it, or leave it out"
	}
	return "", ""
}

// Problem says what is wrong with a reference that was not parsed; empty: nothing is.
func (r SecretRef) Problem() string {
	problem, _ := r.check()
	return problem
}

// secretID says whether a text is an id of a version, as NewSecretID gives them.
func secretID(id string) bool {
	return len(id) == 2*secretIDBytes && !strings.ContainsFunc(id, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

func unprintable(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }

func variable(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (!alphanumeric(c) || i == 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// IsSecret says whether a value decoded from JSON is meant to stand for a secret; ParseSecret says whether it does.
func IsSecret(value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	_, is := object[SecretMember]
	return is
}

// ParseSecret reads the object that stands for a secret. Errors are *Error, about a field named at.
func ParseSecret(at string, value any) (SecretRef, error) {
	const next = `write {"` + SecretMember + `": {"file": PATH}}, {"` + SecretMember + `": {"env": NAME}} or {"` + SecretMember + `": {"name": NAME}}, and nothing beside it`
	object, _ := value.(map[string]any)
	named, ok := object[SecretMember].(map[string]any)
	if !ok || len(object) != 1 {
		return SecretRef{}, Invalidf("", at, next, "this is not how a secret is named")
	}
	var ref SecretRef
	for member, given := range named {
		var into *string
		switch member {
		case "file":
			into = &ref.File
		case "env":
			into = &ref.Env
		case "name":
			into = &ref.Name
		case "layer":
			into = (*string)(&ref.Layer)
		case "id":
			into = &ref.ID
		case "version":
			if ref.Version, ok = secretVersion(given); !ok {
				return SecretRef{}, Invalidf("", at+"."+SecretMember+"."+member, "write a whole number from 1 on, or leave it out", "it is no version of a secret")
			}
			continue
		default:
			return SecretRef{}, Invalidf("", at, next, "a secret is not named by %q", shorten(member))
		}
		text, ok := given.(string)
		if !ok || text == "" {
			return SecretRef{}, Invalidf("", at+"."+SecretMember+"."+member, next, "it is not a string, or an empty one")
		}
		*into = text
	}
	if problem, next := ref.check(); problem != "" {
		return SecretRef{}, Invalidf("", at+"."+SecretMember, next, "%s", problem)
	}
	return ref, nil
}

// secretVersion reads a version as JSON decoders give it.
func secretVersion(given any) (int64, bool) {
	var version int64
	switch number := given.(type) {
	case json.Number:
		n, err := number.Int64()
		if err != nil {
			return 0, false
		}
		version = n
	case float64:
		if version = int64(number); float64(version) != number {
			return 0, false
		}
	default:
		return 0, false
	}
	return version, version > 0 && version <= MaxSecretVersion
}

// SecretUse is one place of a configuration that names a secret.
type SecretUse struct {
	// Path of it: .issuer, .rules[0].token; empty where the whole configuration is the secret.
	Path string
	Ref  SecretRef
}

// Secrets are the places of a configuration that name secrets, in no particular order; none where it is no JSON. Errors are *Error of kind ErrInvalid: something that
// is meant to name a secret does not.
func Secrets(config []byte) ([]SecretUse, error) {
	var uses []SecretUse
	_, err := ReplaceSecrets(config, func(use SecretUse) (string, error) {
		uses = append(uses, use)
		return "", nil
	})
	return uses, err
}

// ReplaceSecrets is a configuration with strings in the place of what names secrets. One that names none is returned as it is, and so is what is no JSON. Errors are
// those of ParseSecret and of value, as they are.
func ReplaceSecrets(config []byte, value func(SecretUse) (string, error)) ([]byte, error) {
	return changeSecrets(config, func(use SecretUse) (any, error) { return value(use) })
}

// PinSecrets is a configuration in which each secret is named as pin says. Else it is as ReplaceSecrets.
func PinSecrets(config []byte, pin func(SecretUse) (SecretRef, error)) ([]byte, error) {
	return changeSecrets(config, func(use SecretUse) (any, error) {
		ref, err := pin(use)
		return map[string]SecretRef{SecretMember: ref}, err
	})
}

func changeSecrets(config []byte, value func(SecretUse) (any, error)) ([]byte, error) {
	// A member's name may be written with escapes.
	if !bytes.Contains(config, []byte(SecretMember)) && !bytes.Contains(config, []byte(`\u`)) {
		return config, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber() // numbers stay as they are written
	var document any
	if decoder.Decode(&document) != nil || decoder.More() {
		return config, nil
	}
	replaced := false
	document, err := replaceSecrets("", document, func(use SecretUse) (any, error) {
		replaced = true
		return value(use)
	})
	if err != nil || !replaced {
		return config, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("write a configuration with its secrets: %w", err) // strings, numbers and what holds them: it cannot be
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func replaceSecrets(at string, value any, with func(SecretUse) (any, error)) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		if IsSecret(v) {
			ref, err := ParseSecret(at, v)
			if err != nil {
				return nil, err
			}
			return with(SecretUse{Path: at, Ref: ref})
		}
		for name, child := range v {
			inner, err := replaceSecrets(memberPath(at, name), child, with)
			if err != nil {
				return nil, err
			}
			v[name] = inner
		}
	case []any:
		for i, child := range v {
			inner, err := replaceSecrets(fmt.Sprintf("%s[%d]", at, i), child, with)
			if err != nil {
				return nil, err
			}
			v[i] = inner
		}
	}
	return value, nil
}

func memberPath(at, name string) string {
	if name == "" || strings.ContainsAny(name, `.[]"' `) {
		return fmt.Sprintf("%s[%q]", at, name)
	}
	return at + "." + name
}

// NamesSecret says whether a configuration in canonical form, as releases and rendered chains hold them, names any secret.
func NamesSecret(canonical []byte) bool {
	return bytes.Contains(canonical, []byte(`"`+SecretMember+`":`))
}

// NamesSecret says whether a filter of the chain names any.
func (c Chain) NamesSecret() bool {
	for _, f := range c.Filters {
		if NamesSecret(f.Config) {
			return true
		}
	}
	return false
}

// namesKept says whether a configuration in canonical form names a kept secret by its layer and version, without reading it: chains are asked for each node.
func namesKept(canonical []byte) bool {
	return bytes.Contains(canonical, []byte(`"`+SecretMember+`":{"id":`)) || bytes.Contains(canonical, []byte(`"`+SecretMember+`":{"layer":`))
}

// KeptSecrets are the secrets that the distributor keeps and a chain names, each once, in the order of their texts.
func (c Chain) KeptSecrets() []SecretRef {
	configs := make([][]byte, 0, len(c.Filters))
	for _, f := range c.Filters {
		configs = append(configs, f.Config)
	}
	return keptIn(configs)
}

// KeptSecrets are those that a release names, as of a chain.
func (r Release) KeptSecrets() []SecretRef {
	var configs [][]byte
	for _, filters := range [...][]FilterSpec{r.Filters, r.Overrides} {
		for _, f := range filters {
			configs = append(configs, f.Config)
		}
	}
	return keptIn(configs)
}

// keptIn looks through configurations in canonical form.
func keptIn(configs [][]byte) []SecretRef {
	var refs []SecretRef
	for _, config := range configs {
		if !namesKept(config) {
			continue
		}
		uses, _ := Secrets(config) // it was checked when the release was created
		for _, use := range uses {
			if use.Ref.Kept() && !slices.Contains(refs, use.Ref) {
				refs = append(refs, use.Ref)
			}
		}
	}
	slices.SortFunc(refs, func(a, b SecretRef) int { return strings.Compare(a.String(), b.String()) })
	return refs
}

// validateSecrets checks what names secrets in a configuration, and gives them.
func validateSecrets(object, at string, config []byte) ([]SecretUse, error) {
	uses, err := Secrets(config)
	if told, ok := err.(*Error); ok {
		said := *told
		said.Object, said.Field = object, at+told.Field
		return nil, &said
	}
	return uses, err
}
