package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// How a tag is changed that others may change at the same time.
const (
	// maxMergeLooks is how often the tag is read before the change is given up. Each write takes two or three looks.
	maxMergeLooks = 64
	// settleFactor times as long as reading and writing took is waited before what was written counts as done, at least
	// minSettle and at most maxSettle.
	settleFactor = 10
	minSettle    = 150 * time.Millisecond
	maxSettle    = 5 * time.Second
	// maxMergeJitter bounds the wait of a writer that was written over, so that those who compete get out of step.
	maxMergeJitter = 200 * time.Millisecond
)

// tagChange is how the manifest at a tag changes.
type tagChange struct {
	// merge makes of what stands there (nil: nothing) what is to stand there; a blob without data when that needs no change. It
	// may be called many times, and does not reach out.
	merge func(old []byte) (blob, error)
	// prepare uploads what the new manifest needs; it may be nil.
	prepare func(next blob) error
	// agreed is where whoever else may begin what is not there yet begins it with the same: then nothing that is written over a
	// beginning takes it away, and it need not be watched.
	agreed bool
}

// mergeTag changes the manifest at a tag, which ref has.
//
// A registry has no compare-and-swap, so what is written is read back, at once and once more after a while, and written again,
// merged anew, when somebody else wrote over it. The while is for those who had read before this one wrote, and write after
// it was read back: it is some times as long as it took to read and write here. A writer that is slower than that can
// still undo this one's work.
func (c *Client) mergeTag(ctx context.Context, op string, ref Reference, change tagChange) error {
	var settle time.Duration // after a write: how long to wait before it counts
	for range maxMergeLooks {
		began := time.Now()
		old, err := c.readOwn(ctx, op, ref)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		next, err := change.merge(old)
		if err != nil {
			return withSubject(err, op, ref.String())
		}
		if len(next.data) > MaxManifestBytes {
			return tooLarge(op, ref.String(), MaxManifestBytes, next.desc.Size)
		}
		wait := settle
		switch {
		case next.data == nil && settle == 0:
			return nil
		case next.data != nil && settle > 0:
			wait = rand.N(maxMergeJitter) // somebody is at it, too: let them
		case next.data != nil:
			if change.prepare != nil {
				if err := change.prepare(next); err != nil {
					return err
				}
				// That took its time.
				if now, err := c.readOwn(ctx, op, ref); err != nil && !errors.Is(err, ErrNotFound) || !bytes.Equal(now, old) {
					continue
				}
			}
			if _, err := c.putManifest(ctx, op, ref, ref.Tag, next); err != nil {
				return err
			}
			if change.agreed && old == nil {
				return nil
			}
			settle = min(max(settleFactor*time.Since(began), minSettle), maxSettle)
			continue
		}
		settle = 0
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("%s %s: %w", op, ref, err)
		}
	}
	return &Error{Op: op, Subject: ref.String(), Kind: ErrUnavailable, Detail: "others write it at the same time, and what was written here was gone again and again", Next: "try again later"}
}

// pause waits, and ends early with the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readOwn reads what stands at a tag from the registry itself: what a mirror says of it may be old, and is about to be written back.
func (c *Client) readOwn(ctx context.Context, op string, ref Reference) ([]byte, error) {
	got, err := again(ctx, c, func() (manifestAnswer, error) { return c.manifestAt(ctx, op, ref, ref) })
	return got.data, err
}
