package registry

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// missing are those of some blobs that the registry does not have; the others are through.
func (u *upload) missing(ctx context.Context, blobs []blob) ([]blob, error) {
	have := make([]bool, len(blobs))
	g, ctx := errgroup.WithContext(ctx)
	for i, b := range blobs {
		g.Go(func() (err error) {
			have[i], err = u.repo.Blobs().Exists(ctx, b.desc.oci())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var missing []blob
	for i, b := range blobs {
		if have[i] {
			u.through(b.desc.Size)
			continue
		}
		missing = append(missing, b)
	}
	return missing, nil
}

// blobs uploads small blobs beside each other: a registry takes longer to put one on its disk than to receive it.
func (u *upload) blobs(ctx context.Context, blobs []blob) error {
	missing, err := u.missing(ctx, blobs)
	if err != nil {
		return err
	}
	return u.small(ctx, missing)
}

// small sends small blobs beside each other.
func (u *upload) small(ctx context.Context, blobs []blob) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, b := range blobs {
		g.Go(func() error { return u.send(ctx, b) })
	}
	return g.Wait()
}
