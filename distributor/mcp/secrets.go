package mcp

import (
	"context"
	"errors"
	"strings"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

const (
	// secretTimeout bounds the reading of all secrets of a message, and secretAgain is after how long one that could not be given is tried again.
	secretTimeout = 5 * time.Second
	secretAgain   = 10 * time.Second
)

// troubled begins the version of a secret that cannot be given, and why; the version of one that is given is the id of its value, which never changes.
const troubled = "trouble: "

// withTroubles is the collection of secrets as it is sent: those that cannot be given say why, and are of another version, so that they are sent again when they can be. A node is told,
// and not left to wait: its ledger says it then. What the sink holds already is left as it is, whether it could be given or not. An error says nothing about a secret, but that
// they cannot be read now: the sink comes again.
func (n *streamOfNode) withTroubles(ctx context.Context, c model.Collection) (model.Collection, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	var held holding // of what the sink will not be sent
	if sub := n.subscriptions[c.Name]; sub.incremental {
		held = sub.held
	}
	var out []model.Resource
	for i, r := range c.Resources {
		if version, _ := held.version(r.Name); r.Secret == nil || r.Version != "" && version == r.Version {
			continue
		}
		if _, err := n.source.backend.secret(ctx, *r.Secret); err != nil {
			if !errors.Is(err, model.ErrPrecondition) && !errors.Is(err, model.ErrNotFound) {
				return c, toStatus(err)
			}
			if out == nil {
				out = append(out, c.Resources...) // others share it
			}
			out[i].Version = troubled + clip(err.Error(), MaxReasonBytes)
			c.Version += "\n" + r.Name + out[i].Version
		}
	}
	if out == nil {
		return c, nil
	}
	c.Resources = out
	if n.secretsAgain.IsZero() {
		n.secretsAgain = time.Now().Add(secretAgain)
		time.AfterFunc(secretAgain, n.inbox.Wake)
	}
	return c, nil
}

// secretField is a secret as it stands in a message: nobody keeps it once it is sent.
func (n *streamOfNode) secretField(ctx context.Context, collection string, r model.Resource) ([]byte, error) {
	body := &waftv1.SecretValue{Layer: string(r.Secret.Layer), Name: r.Secret.Name, Version: r.Secret.Version, Id: r.Secret.ID}
	trouble, is := strings.CutPrefix(r.Version, troubled)
	if !is {
		value, err := n.source.backend.secret(ctx, *r.Secret)
		if err != nil {
			return nil, toStatus(err) // it could be given a moment ago: the sink comes again
		}
		body.Value = value
	} else {
		body.Trouble = trouble
	}
	return encodeBody(collection, r, body)
}
