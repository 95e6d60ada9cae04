package jwt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// KeySet is the usable keys of a JWKS, in its order. It is immutable and may be used concurrently. The zero value has no
// key and verifies nothing.
type KeySet struct {
	keys []key
}

func fieldErrorf(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// privateMembers are those of a private key (RFC 7518, sections 6.2.2 and 6.3.2). A proxy verifies; it must not hold them.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth"}

// ParseKeySet reads a JWKS (RFC 7517, section 5): an object with a list "keys". Members that it does not know are
// ignored, as the RFC asks, and so are keys whose use or key_ops says that they verify no signature. Any other key that
// cannot be used is a FieldError, because a key left out in silence shows only as refused tokens later.
func ParseKeySet(text json.RawMessage) (*KeySet, error) {
	set, err := parseKeySet(text)
	if err != nil {
		return nil, err
	}
	return set, nil
}

func parseKeySet(text json.RawMessage) (*KeySet, *FieldError) {
	if len(text) > MaxKeySetBytes {
		return nil, fieldErrorf("", "the key set has %d bytes, at most %d are taken", len(text), MaxKeySetBytes)
	}
	object, err := parseObject(text)
	if err != nil {
		return nil, fieldErrorf("", "%v; a JSON Web Key Set such as {\"keys\": [...]} is needed", err)
	}
	list, ok := object["keys"].([]any)
	if !ok {
		return nil, &FieldError{"keys", "a list of JSON Web Keys is needed"}
	}
	if len(list) > MaxKeys {
		return nil, fieldErrorf("keys", "%d keys, at most %d are taken", len(list), MaxKeys)
	}
	set := &KeySet{}
	ids := map[string]int{}
	for i, item := range list {
		at := "keys[" + strconv.Itoa(i) + "]"
		members, ok := item.(Object)
		if !ok {
			return nil, &FieldError{at, "not a JSON object"}
		}
		k, used, err := parseKey(members)
		if err != nil {
			return nil, under(at, err)
		}
		if !used {
			continue
		}
		if k.id != "" {
			if first, twice := ids[k.id]; twice {
				return nil, fieldErrorf(at+".kid", "%q is the kid of keys[%d] already; each key needs its own", k.id, first)
			}
			ids[k.id] = i
		}
		set.keys = append(set.keys, k)
	}
	if len(set.keys) == 0 {
		return nil, &FieldError{"keys", "no key that verifies signatures; at least one is needed"}
	}
	return set, nil
}

// parseKey reads one JWK. used is false for a key that is meant for something else than verifying signatures.
func parseKey(members Object) (k key, used bool, err *FieldError) {
	if use, err := text(members, "use"); err != nil || (use != "" && use != "sig") {
		return key{}, false, err
	}
	if used, err := mayVerify(members); err != nil || !used {
		return key{}, false, err
	}
	kty, err := text(members, "kty")
	if err != nil {
		return key{}, false, err
	}
	if kty == "" {
		return key{}, false, &FieldError{"kty", "missing"}
	}
	if k.id, err = text(members, "kid"); err != nil {
		return key{}, false, err
	}
	if _, present := members["kid"]; present && k.id == "" {
		return key{}, false, &FieldError{"kid", "empty; leave it out or name the key"}
	}
	if len(k.id) > MaxKeyIDBytes {
		return key{}, false, fieldErrorf("kid", "%d bytes, at most %d are taken", len(k.id), MaxKeyIDBytes)
	}
	if k.algorithm, k.check, err = material(kty, members); err != nil {
		return key{}, false, err
	}
	alg, err := text(members, "alg")
	if err != nil {
		return key{}, false, err
	}
	if _, present := members["alg"]; present && alg != k.algorithm {
		return key{}, false, fieldErrorf("alg", "%q does not fit the key, which can be used with %s only", alg, k.algorithm)
	}
	return k, true, nil
}

// material builds the check of the key's own type, which decides the algorithm.
func material(kty string, members Object) (algorithm string, check func(input, signature []byte) bool, err *FieldError) {
	if kty != "oct" {
		for _, name := range privateMembers {
			if _, present := members[name]; present {
				return "", nil, &FieldError{name, "part of a private key; give the public key only, and replace this one if it was published"}
			}
		}
	}
	switch kty {
	case "RSA":
		n, err := octets(members, "n")
		if err != nil {
			return "", nil, err
		}
		e, err := octets(members, "e")
		if err != nil {
			return "", nil, err
		}
		check, err := rsaKey(n, e)
		return RS256, check, err
	case "EC":
		if err := curve(members, "P-256"); err != nil {
			return "", nil, err
		}
		x, err := octets(members, "x")
		if err != nil {
			return "", nil, err
		}
		y, err := octets(members, "y")
		if err != nil {
			return "", nil, err
		}
		check, err := ecKey(x, y)
		return ES256, check, err
	case "OKP":
		if err := curve(members, "Ed25519"); err != nil {
			return "", nil, err
		}
		x, err := octets(members, "x")
		if err != nil {
			return "", nil, err
		}
		check, err := edKey(x)
		return EdDSA, check, err
	case "oct":
		k, err := octets(members, "k")
		if err != nil {
			return "", nil, err
		}
		check, err := hmacKey(k)
		return HS256, check, err
	}
	return "", nil, fieldErrorf("kty", "%q is not supported; RSA, EC, OKP and oct are", kty)
}

// mayVerify reads key_ops: absent, or a list that holds "verify".
func mayVerify(members Object) (bool, *FieldError) {
	value, present := members["key_ops"]
	if !present {
		return true, nil
	}
	list, ok := value.([]any)
	if !ok {
		return false, &FieldError{"key_ops", "not a list of strings"}
	}
	return slices.Contains(list, any("verify")), nil
}

func curve(members Object, want string) *FieldError {
	got, err := text(members, "crv")
	if err != nil {
		return err
	}
	if got != want {
		return fieldErrorf("crv", "%q is not supported with this kty; %s is", got, want)
	}
	return nil
}

// text is a string member, "" when it is absent.
func text(members Object, name string) (string, *FieldError) {
	value, present := members[name]
	if !present {
		return "", nil
	}
	s, ok := value.(string)
	if !ok {
		return "", &FieldError{name, "not a string"}
	}
	return s, nil
}

// octets is a required member in base64url.
func octets(members Object, name string) ([]byte, *FieldError) {
	s, err := text(members, name)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return nil, &FieldError{name, "missing or empty"}
	}
	out, decodeErr := decodeBase64url(s)
	if decodeErr != nil {
		return nil, &FieldError{name, decodeErr.Error()}
	}
	return out, nil
}
