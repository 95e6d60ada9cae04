// Package streams is what the servers of discovery streams have in common, whatever the dialect.
package streams

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Receive reads requests in a goroutine of its own, which ends with the stream, whose context ctx is. failed gets nil when the client has closed its side
// in order.
func Receive[R any](ctx context.Context, recv func() (R, error)) (requests <-chan R, failed <-chan error) {
	read, ended := make(chan R), make(chan error, 1)
	go func() {
		for {
			req, err := recv()
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				ended <- err
				return
			}
			select {
			case read <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	return read, ended
}

// Stopping is what a stream ends with when the server does.
func Stopping() error {
	return status.Error(codes.Unavailable, "the distributor is stopping; connect again")
}

// Ended is what a stream ends with that has waited until it or the server, whose context stop is, ended, by that error.
func Ended(err error, stop context.Context) error {
	if stop.Err() != nil {
		return Stopping()
	}
	return err
}

// Clip bounds what a client says, in bytes, and makes it text.
func Clip(text string, limit int) string {
	return strings.ToValidUTF8(text[:min(len(text), limit)], "\uFFFD")
}
