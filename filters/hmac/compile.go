package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// minSecretBytes is the length of the shortest secret: as long as the hash (RFC 2104, section 3).
const minSecretBytes = 32

// key is a checked Key.
type key struct {
	client string
	secret []byte
}

func compileKeys(list []Key) (map[string]key, error) {
	keys := make(map[string]key, len(list))
	for i, k := range list {
		at := "keys[" + strconv.Itoa(i) + "]"
		if _, ok := keys[k.ID]; ok {
			return nil, sdk.ConfigErrorf(at+".id", "there is another key %q", k.ID)
		}
		if len(k.Secret) < minSecretBytes {
			return nil, sdk.ConfigErrorf(at+".secret", "it has %d bytes; want %d or more, random ones", len(k.Secret), minSecretBytes)
		}
		client := k.Client
		if client == "" {
			client = k.ID
		}
		if strings.IndexFunc(client, func(r rune) bool { return r < '!' || r > '~' }) >= 0 {
			return nil, sdk.ConfigErrorf(at, "the client %q cannot stand in a header: want printable ASCII without spaces", client)
		}
		keys[k.ID] = key{client, k.Secret}
	}
	return keys, nil
}

// knownClients are those whose keys there are.
func knownClients(keys map[string]key) map[string]struct{} {
	known := make(map[string]struct{}, len(keys))
	for _, k := range keys {
		known[k.client] = struct{}{}
	}
	return known
}

func checkRequired(list []string) error {
	for i, name := range list {
		if name[0] == '@' && !slices.Contains(derived[:], name) || name != strings.ToLower(name) || strings.ContainsAny(name, " \t\":;") {
			return sdk.ConfigErrorf("require["+strconv.Itoa(i)+"]", "%q is neither a header in lower case nor one of %s", name, strings.Join(derived[:], ", "))
		}
	}
	return nil
}
