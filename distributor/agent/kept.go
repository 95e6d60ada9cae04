package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/wholefile"
)

// kept holds a second copy of each module of the last good chain, which the bootstrap's default names: what damages a file under the slot
// leaves the default whole, so that an Envoy which starts then serves, with nobody there to help. Its methods may be used concurrently.
type kept struct {
	dir   string
	cache *registry.Cache
	mu    sync.Mutex
}

func (k *kept) path(digest string) string {
	return filepath.Join(k.dir, registry.Digest(digest).Hex()+".wasm")
}

// hold makes sure that the copies of a chain's modules are there and whole, from the cache where they are not. The error is a
// missingModule when the cache has not got one either.
func (k *kept) hold(c *chain) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range c.Filters {
		if k.whole(f.Digest) {
			continue
		}
		from, _, err := k.cache.Open(registry.Digest(f.Digest))
		if err != nil {
			return &missingModule{f.Digest, err}
		}
		content, err := io.ReadAll(io.LimitReader(from, registry.DefaultMaxModuleBytes))
		_ = from.Close() // read only
		if err != nil {
			return &missingModule{f.Digest, err}
		}
		if err := wholefile.Replace(k.path(f.Digest), content); err != nil {
			return err
		}
	}
	return nil
}

// whole says whether the copy is what its name says.
func (k *kept) whole(digest string) bool {
	file, err := os.Open(k.path(digest))
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // it was only read
	h := sha256.New()
	_, err = io.Copy(h, file)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == registry.Digest(digest).Hex()
}

// drop removes the copies that none of the chains needs.
func (k *kept) drop(except ...*chain) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	needed, names := map[string]int64{}, map[string]bool{}
	digests(needed, except...)
	for digest := range needed {
		names[filepath.Base(k.path(digest))] = true
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("look for copies of modules that nobody needs: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !names[entry.Name()] {
			errs = append(errs, os.Remove(filepath.Join(k.dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// restore puts the copy of a module into the cache, when the cache has none that is whole. Where there is no copy either, it does nothing:
// the distributor has one.
func (k *kept) restore(ctx context.Context, digest string, size int64) error {
	if _, err := k.cache.Path(registry.Digest(digest)); err == nil {
		return nil
	}
	file, err := os.Open(k.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	_, _, err = k.cache.Put(ctx, registry.Descriptor{Digest: registry.Digest(digest), Size: size}, registry.DefaultMaxModuleBytes, file)
	return err
}
