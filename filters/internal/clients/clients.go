// Package clients says which clients a filter lets in that knows clients by their credentials, such as API keys or signatures.
//
// It imports package sdk and the standard library only.
package clients

import (
	"strconv"

	"github.com/waft-project/waft/sdk"
)

// Access says who is let in. With nothing set, every credential that is known is enough.
type Access struct {
	// Public lets requests in without a credential. It excludes clients.
	Public bool `json:"public,omitempty"`
	// Clients are those whose credentials are enough.
	Clients []string `json:"clients,omitempty" minItems:"1" maxItems:"20000" minLength:"1"`
}

// Rule is a compiled [Access]. The nil Rule lets every client in, and nobody without a credential. It is not changed once it is made.
type Rule struct {
	public bool
	// clients are those who are let in; nil for all.
	clients map[string]struct{}
}

// Compile checks the configuration of a field. known has the clients that there are: one that is not is a mistake, which would let nobody in. The
// error is an [*sdk.ConfigError] that names the field.
func Compile(at string, c *Access, known map[string]struct{}) (*Rule, error) {
	if c.Public && c.Clients != nil {
		return nil, sdk.ConfigErrorf(at+".public", "excludes clients; give one of the two")
	}
	r := &Rule{public: c.Public}
	for i, client := range c.Clients {
		if _, ok := known[client]; !ok {
			return nil, sdk.ConfigErrorf(at+".clients["+strconv.Itoa(i)+"]", "no key is of the client %q", client)
		}
		if r.clients == nil {
			r.clients = make(map[string]struct{}, len(c.Clients))
		}
		r.clients[client] = struct{}{}
	}
	return r, nil
}

// Public says whether requests are let in without a credential.
func (r *Rule) Public() bool { return r != nil && r.public }

// Lets says whether a client is let in whose credential is good.
func (r *Rule) Lets(client string) bool {
	if r == nil || r.clients == nil {
		return true
	}
	_, ok := r.clients[client]
	return ok
}
