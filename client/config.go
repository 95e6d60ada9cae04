package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// ErrInvalid means that a Config cannot work.
var ErrInvalid = errors.New("client: invalid configuration")

// Config says who an application is, and what it takes. Node, Servers, StateDir and Collections are required.
type Config struct {
	// Node is the application's id among all nodes. Two that run at a time must not have the same. With an access policy it is the one that the certificate
	// may be.
	Node string
	// Labels are what targets of rollouts select it by.
	Labels map[string]string
	// Version is the application's own, for people; and another version is asked anew about what this one rejected in a trial, and about what only this one had as
	// good. May be empty: all that take the same Collections are the same version then.
	Version string

	// Servers are the gRPC addresses of the distributor's replicas, host:port. One of them is used at a time, beginning with any; the next when it is away.
	Servers []string
	// TLS says whom the application trusts, and has its certificate; see LoadTLS. It is asked for at each connection. Nil with Insecure false: the system's
	// authorities, and no certificate.
	TLS func() *tls.Config
	// Insecure speaks plain text, to whoever answers.
	Insecure bool

	// StateDir is where last-known-good is. It belongs to this application alone; it is made with mode 0700. A second client on it is refused.
	StateDir string

	// Collections are those that it takes, each once.
	Collections []Subscription

	// Accept, when set, is asked before a release is taken. An error, or a panic, rejects it: the application goes on with what it has, the rollout is told the
	// error's text, and takes the release back. It is called for one snapshot at a time, while Client.Snapshot is still the one before, and must only look at
	// it. What was last-known-good once for the same Version with the same Collections, and what it started with, is not asked about again. ctx ends after AcceptTimeout, and when the client is closed, which waits for it.
	Accept func(ctx context.Context, s *Snapshot) error
	// AcceptTimeout is how long that may take. Zero: DefaultAcceptTimeout.
	AcceptTimeout time.Duration
	// Trial is how long the application must go on with a release before it is last-known-good. One that ends before without Close rejects it at its next start.
	// Zero: DefaultTrial; negative: a release is good at once. The first one always is: there is nothing to go back to. So is one to which the same Version goes back, with the same Collections.
	Trial time.Duration

	// Counts, when set, says what the application has answered since it was started. It is asked while a rollout needs it, every few seconds, so that the gate
	// errorRatio can judge; without it that gate pauses the rollout. It must not block, and may be called concurrently.
	Counts func() Counts

	// Log; nil logs nowhere.
	Log *slog.Logger
}

// prepared is a copy of a configuration, checked and with its defaults.
func (c Config) prepared() (Config, error) {
	if err := model.ValidateNodeID("client", "node", c.Node); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := model.ValidateLabels("node/"+c.Node, "labels", c.Labels); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch {
	case len(c.Servers) == 0:
		return c, fmt.Errorf("%w: servers: name the distributor's gRPC address, host:port", ErrInvalid)
	case c.StateDir == "":
		return c, fmt.Errorf("%w: state: name a folder for what is served while no distributor is there", ErrInvalid)
	case len(c.Collections) == 0:
		return c, fmt.Errorf("%w: collections: name those that the application takes", ErrInvalid)
	case len(c.Collections) > model.MaxReleaseCollections:
		return c, fmt.Errorf("%w: collections: %d are more than %d", ErrInvalid, len(c.Collections), model.MaxReleaseCollections)
	case c.Insecure && c.TLS != nil:
		return c, fmt.Errorf("%w: TLS is configured and switched off; leave out one of them", ErrInvalid)
	}
	for _, server := range c.Servers {
		if host, port, err := net.SplitHostPort(server); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("%w: servers: %q is not host:port", ErrInvalid, server)
		}
	}
	seen := map[string]bool{}
	for _, s := range c.Collections {
		if err := model.ValidateCollection("client", "collections", s.Name()); err != nil {
			return c, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if seen[s.Name()] {
			return c, fmt.Errorf("%w: collections: %s is named twice", ErrInvalid, s.Name())
		}
		seen[s.Name()] = true
	}
	c.Labels, c.Servers, c.Collections = maps.Clone(c.Labels), slices.Clone(c.Servers), slices.Clone(c.Collections)
	if c.TLS == nil {
		c.TLS = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
	}
	if c.AcceptTimeout <= 0 {
		c.AcceptTimeout = DefaultAcceptTimeout
	}
	if c.Trial == 0 {
		c.Trial = DefaultTrial
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// taken are the collections as one text, by which an application that takes others is told from this one.
func (c Config) taken() string {
	names := c.takes()
	slices.Sort(names)
	return strings.Join(names, " ") // a name has no space
}

// takes are the names of the collections.
func (c Config) takes() []string {
	names := make([]string, 0, len(c.Collections))
	for _, s := range c.Collections {
		names = append(names, s.Name())
	}
	return names
}
