// Package handlers has handlers that fixtures make theirs.
package handlers

import "github.com/waft-project/waft/sdk"

// Trailers is a handler of another package.
type Trailers struct{}

// OnRequestTrailers lets them pass.
func (*Trailers) OnRequestTrailers(*sdk.Request) sdk.Action { return sdk.Continue }

// Chunks is a generic handler.
type Chunks[T any] struct{ Seen []T }

// OnResponseBody counts a chunk.
func (c *Chunks[T]) OnResponseBody(_ *sdk.Response, _ *sdk.Body) sdk.Action {
	var one T
	c.Seen = append(c.Seen, one)
	return sdk.Continue
}

// New makes a handler whose type the caller does not name.
func New() sdk.Handler { return done{} }

type done struct{}

func (done) OnStreamDone(*sdk.Stream) {}
