package registry

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// blobs uploads blobs: those that are in memory, which are small, beside each other and beside the module. A registry takes longer to
// put a small blob on its disk than to receive it, so one after the other they would cost more than the module.
func (u *upload) blobs(ctx context.Context, blobs []blob) error {
	var small int64
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for _, b := range blobs {
			if b.content == nil {
				continue
			}
			if err := u.blob(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
	for _, b := range blobs {
		if b.content != nil {
			continue
		}
		small += b.desc.Size
		// Without progress, which is told from one goroutine.
		quiet := &upload{repo: u.repo}
		g.Go(func() error { return quiet.blob(ctx, b) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	u.done += small
	u.tell(u.done)
	return nil
}
