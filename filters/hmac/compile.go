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

func checkRequired(list []string) error {
	for i, name := range list {
		if name[0] == '@' && !slices.Contains(derived[:], name) || name != strings.ToLower(name) || strings.ContainsAny(name, " \t\":;") {
			return sdk.ConfigErrorf("require["+strconv.Itoa(i)+"]", "%q is neither a header in lower case nor one of %s", name, strings.Join(derived[:], ", "))
		}
	}
	return nil
}

// access is a compiled Access.
type access struct {
	public bool
	// clients are those who are let in; nil for all.
	clients map[string]struct{}
}

func compileAccess(at string, from *Access, keys map[string]key) (*access, error) {
	if from.Public && from.Clients != nil {
		return nil, sdk.ConfigErrorf(at+".public", "excludes clients; give one of the two")
	}
	a := &access{public: from.Public}
	known := map[string]struct{}{}
	for _, k := range keys {
		known[k.client] = struct{}{}
	}
	for i, client := range from.Clients {
		if _, ok := known[client]; !ok {
			return nil, sdk.ConfigErrorf(at+".clients["+strconv.Itoa(i)+"]", "no key is of the client %q", client)
		}
		if a.clients == nil {
			a.clients = make(map[string]struct{}, len(from.Clients))
		}
		a.clients[client] = struct{}{}
	}
	return a, nil
}
