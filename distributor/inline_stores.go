package distributor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/wholefile"
)

// storesFile, in the registry's folder, has a line for each store that was used with the registry. Whether a module is needed only they can say, all of them; so where
// there was more than one, nothing is swept. It is in no backup: what is restored has another store. Replicas of before wrote --etcd for theirs, which may be any: it is
// another one than each that has an identity.
const storesFile = "stores"

// storeBefore is a store that was there before anything was written down, and whose releases the store that is there now does not have.
const storeBefore = "unknown"

// notedStores are those that the registry in a folder was used with, as far as is written down.
func notedStores(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, storesFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// usedWith notes that the embedded registry in a folder is used with a store, and says whether it never was with another one. named are the artifacts that the releases
// of the store name: where nothing is noted yet, and there are inline modules, the store is theirs if it knows one of them; and where anything was pushed, if it knows one of all that is there.
func usedWith(dir, store string, named map[string]bool) (only bool, err error) {
	stores, err := notedStores(dir)
	if err != nil {
		return false, err
	}
	if len(stores) == 0 {
		kept, err := inlineArtifacts(dir)
		if err != nil {
			return false, err
		}
		all, err := manifestsBelow(filepath.Join(dir, filepath.FromSlash(retention.Layout), "repositories"))
		if err != nil {
			return false, err
		}
		strange := func(digests []registry.Digest) bool {
			return len(digests) > 0 && !slices.ContainsFunc(digests, func(d registry.Digest) bool { return named[string(d)] })
		}
		if strange(kept) || strange(all) {
			stores = append(stores, storeBefore)
		}
	}
	if !slices.Contains(stores, store) {
		stores = append(stores, store)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return false, err
		}
		if err := wholefile.Replace(filepath.Join(dir, storesFile), []byte(strings.Join(stores, "\n")+"\n")); err != nil {
			return false, err
		}
	}
	return len(stores) == 1, nil
}

// inlineArtifacts are the manifests in all repositories of inline modules.
func inlineArtifacts(dir string) ([]registry.Digest, error) {
	return manifestsBelow(filepath.Join(dir, filepath.FromSlash(retention.Layout), "repositories", service.InlineRepositories))
}

// manifestsBelow are the manifests in all repositories below a folder.
func manifestsBelow(root string) ([]registry.Digest, error) {
	repositories, err := foldersBelow(root)
	if err != nil {
		return nil, err
	}
	var all []registry.Digest
	for _, repository := range repositories {
		entries, err := os.ReadDir(filepath.Join(repository, "_manifests", "revisions", "sha256"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, registry.Digest("sha256:"+e.Name()))
		}
	}
	return all, nil
}
