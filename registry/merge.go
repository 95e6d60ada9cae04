package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// How a tag is changed that others may change at the same time.
const (
	// maxMergeAttempts is how often it is written again after somebody else wrote over it.
	maxMergeAttempts = 32
	// minSettle and maxSettle bound the wait before what was written is read back.
	minSettle = 20 * time.Millisecond
	maxSettle = 3 * time.Second
)

// mergeTag changes the manifest at a tag, which ref has, by merge: from what stands there (nil: nothing) to what is to stand
// there. Merge gives a blob without data when what stands there needs no change, and may be called many times.
//
// A registry has no compare-and-swap, so what is written is read back, and written again, merged anew, when somebody else
// wrote over it. A writer who had read before this one wrote may write after it was read back; so reading back waits for
// some times as long as it took to read and write here. A writer slower than that can still undo this one's work.
func (c *Client) mergeTag(ctx context.Context, op string, ref Reference, merge func(old []byte) (blob, error)) error {
	wrote := false
	for range maxMergeAttempts {
		began := time.Now()
		old, _, err := c.readManifest(ctx, op, ref)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		next, err := merge(old)
		if err != nil {
			return withSubject(err, op, ref.String())
		}
		if next.data == nil {
			return nil
		}
		if len(next.data) > MaxManifestBytes {
			return tooLarge(op, ref.String(), MaxManifestBytes, next.desc.Size)
		}
		if wrote { // somebody is at it, too: let them
			if err := pause(ctx, rand.N(4*minSettle)); err != nil {
				return fmt.Errorf("%s %s: %w", op, ref, err)
			}
			wrote = false
			continue
		}
		if _, err := c.putManifest(ctx, op, ref, ref.Tag, next); err != nil {
			return err
		}
		wrote = true
		if err := pause(ctx, min(max(3*time.Since(began), minSettle), maxSettle)); err != nil {
			return fmt.Errorf("%s %s: %w", op, ref, err)
		}
	}
	return &Error{Op: op, Subject: ref.String(), Kind: ErrUnavailable, Detail: fmt.Sprintf("others write it at the same time, and what was written here was gone %d times", maxMergeAttempts/2),
		Next: "try again later"}
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
