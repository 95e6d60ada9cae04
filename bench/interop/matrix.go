package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// sources is where each layout stands that clients pull, copy and verify: what waft writes, waft has published; the others come from oras.
func (w *workshop) sources(ctx context.Context) (refs map[string]string, want map[string]fetched, err error) {
	ref := w.ref("ours/headers", "1.0.0")
	if _, err := w.waft(ctx, "push", w.module, ref, "--layout", "oci,compat,cncf"); err != nil {
		return nil, nil, err
	}
	refs = map[string]string{layoutOCI: ref, layoutCompat: ref + "-compat", layoutCNCF: ref + "-cncf"}
	for _, layout := range []string{layoutZstd, layoutOld} {
		refs[layout] = w.ref("theirs/"+short(layout), "1.0.0")
		if err := clients()[0].push(ctx, w, refs[layout], layout); err != nil {
			return nil, nil, err
		}
	}
	want = map[string]fetched{}
	for layout, ref := range refs {
		digest, err := w.digestAt(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		if want[layout], err = w.expect(ctx, ref, layout, digest); err != nil {
			return nil, nil, err
		}
	}
	return refs, want, nil
}

// matrix tries every client with every layout in every direction.
func (w *workshop) matrix(ctx context.Context, registry string, done func(cell)) ([]cell, error) {
	refs, want, err := w.sources(ctx)
	if err != nil {
		return nil, fmt.Errorf("publish what clients are to read: %w", err)
	}
	var cells []cell
	for _, c := range clients() {
		for _, direction := range []string{dirPull, dirPush, dirCopy, dirBundle, dirVerify, dirSign} {
			for _, layout := range layouts {
				at := cell{Registry: registry, Client: c.name, Layout: layout, Direction: direction}
				try := w.trial(c, at, refs[layout], want[layout])
				if reason := c.why(direction, layout); reason != "" {
					at.OK, at.Reason = ruled, reason
					// What a reader refuses by design must be seen to be refused.
					if direction == dirPull && c.pull != nil && reason != notWritten && try(ctx) == nil {
						at = at.judge(fmt.Errorf("%s does it, and should not: %s", c.name, reason))
					}
				} else {
					at = at.judge(try(ctx))
				}
				if err := context.Cause(ctx); err != nil {
					return cells, err
				}
				cells = append(cells, at)
				done(at)
			}
		}
	}
	return cells, nil
}

// trial is what is done for a cell. It fails unless digests are equal at both ends.
func (w *workshop) trial(c client, at cell, ref string, want fetched) func(context.Context) error {
	// A repository of its own, so that no cell helps another.
	to := w.ref(at.Direction+"/"+short(c.name)+"/"+short(at.Layout), "1.0.0")
	// copied checks that the same artifact stands at both.
	copied := func(ctx context.Context) error {
		got, err := w.expect(ctx, to, at.Layout, want.Manifest)
		if err == nil && got != want {
			err = fmt.Errorf("%+v came, want %+v", got, want)
		}
		return err
	}
	return func(ctx context.Context) error {
		switch at.Direction {
		case dirPull:
			got, err := c.pull(ctx, w, ref, at.Layout)
			if err == nil && got != want {
				err = fmt.Errorf("it got %+v, want %+v", got, want)
			}
			return err
		case dirPush:
			if err := c.push(ctx, w, to, at.Layout); err != nil {
				return err
			}
			digest, err := w.digestAt(ctx, to)
			if err != nil {
				return err
			}
			_, err = w.expect(ctx, to, at.Layout, digest)
			return err
		case dirCopy:
			if err := c.copy(ctx, w, ref, to); err != nil {
				return err
			}
			return copied(ctx)
		case dirBundle:
			dir, err := w.temp()
			if err != nil {
				return err
			}
			file := filepath.Join(dir, "bundle.tar")
			if _, err := w.waft(ctx, "export", ref, "-o", file); err != nil {
				return err
			}
			if err := untar(file, filepath.Join(dir, "image")); err != nil {
				return err
			}
			if err := c.bundle(ctx, w, filepath.Join(dir, "image"), strings.TrimPrefix(ref, w.endpoint.Host+"/"), to); err != nil {
				return err
			}
			return copied(ctx)
		case dirVerify, dirSign:
			// A copy, since signatures stand beside the artifact.
			if _, err := w.run(ctx, w.dir, w.tools.oras, "copy", "--from-plain-http", "--to-plain-http", ref, to); err != nil {
				return err
			}
			if _, err := w.waft(ctx, "verify", to, "--key", w.pub); err == nil {
				return errors.New("waft takes what nobody has signed")
			}
			by := to[:strings.LastIndex(to, ":")] + "@" + want.Manifest
			if at.Direction == dirVerify {
				if _, err := w.waft(ctx, "sign", by, "--key", w.key); err != nil {
					return err
				}
				return c.verify(ctx, w, by)
			}
			if err := c.sign(ctx, w, by); err != nil {
				return err
			}
			_, err := w.waft(ctx, "verify", by, "--key", w.pub)
			return err
		}
		return fmt.Errorf("no direction is called %s", at.Direction)
	}
}
