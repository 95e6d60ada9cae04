package distributor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/backup"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/wholefile"
)

// What of a data folder is in a backup, beside the store: what was pushed, and the copies of what was fetched with what is known of it. Keys and certificates
// (tls/, secret.key) are not: whoever may read a backup could then be anybody.
const (
	registryFolder = "registry"
	modulesFolder  = "modules"
	etcdFolder     = "etcd"
)

// savedFolders are they, in the order in which a restore puts them in place; the store, which makes a folder count as one, comes last of all.
var savedFolders = []string{registryFolder, modulesFolder}

// unsaved says whether a folder or file, by its path in the data folder, holds what is under way. Below the registry the names are people's, but for those that
// begin with an underscore, as no repository's does.
func unsaved(path string) bool {
	switch path {
	case "modules/partial", "modules/tmp", "modules/pins", "modules/lock", registryFolder + "/" + storesFile, registryFolder + "/" + retention.WaitsFile:
		return true
	}
	return strings.HasPrefix(path, registryFolder+"/"+wholefile.Prefix) || strings.HasPrefix(path, registryFolder+"/") && filepath.Base(path) == "_uploads"
}

// restoringFolder in a data folder holds a restore that is under way. It is removed by the next one.
const restoringFolder = "restoring"

// backup writes what this distributor knows, as of now, to w.
func (t *terms) backup(ctx context.Context, w io.Writer) error {
	one, err := t.current()
	if err != nil {
		return err
	}
	b, err := backup.NewWriter(w, backup.Header{Version: t.cfg.Version, Made: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := one.store.Dump(ctx, b.Key); err != nil {
		return err
	}
	for _, folder := range savedFolders {
		if err := saveFolder(ctx, b, t.cfg.Data, folder); err != nil {
			return fmt.Errorf("back up %s: %w", filepath.Join(t.cfg.Data, folder), err)
		}
	}
	_, err = b.Close()
	return err
}

// saveFolder adds the files of a folder of the data folder. Its files come and go by being renamed, so that each that can be opened is whole.
func saveFolder(ctx context.Context, b *backup.Writer, data, folder string) error {
	return filepath.WalkDir(filepath.Join(data, folder), func(path string, e fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(data, path)
		if relErr != nil {
			return relErr
		}
		name = filepath.ToSlash(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it has gone meanwhile: nobody needed it
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && unsaved(name):
			return fs.SkipDir
		case !e.Type().IsRegular() || unsaved(name):
			return nil
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return b.File(name, info.Size(), f)
	})
}

// Restoration says where a backup goes.
type Restoration struct {
	// Data is the data folder, which holds no store, registry and modules yet; it is made if need be, and keys that are in it already stay. Required.
	Data string
	// Etcd, where it is used, is an empty etcd that runs elsewhere and takes the state; else the data folder does.
	Etcd store.External
	// Log takes what an operator should know. Nil: nothing is logged.
	Log *slog.Logger
}

// Restored says what a backup was, and held.
type Restored struct {
	backup.Header
	backup.End
}

// Restore makes of a backup what a distributor starts from. Nothing is put in place before all of the backup was read and found to be whole, but for the state
// in an etcd that runs elsewhere: where that is cut short, no waft opens it.
func Restore(ctx context.Context, cfg Restoration, r io.Reader) (_ Restored, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := store.LockFolder(cfg.Data)
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for _, folder := range append([]string{etcdFolder}, savedFolders...) {
		if _, err := os.Lstat(filepath.Join(cfg.Data, folder)); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return Restored{}, err
			}
			return Restored{}, &model.Error{Kind: model.ErrConflict, Object: cfg.Data, Message: fmt.Sprintf("it holds %s already, and a backup is restored only where nothing is", folder),
				Next: "name another folder (--data), or move that away"}
		}
	}
	part := filepath.Join(cfg.Data, restoringFolder)
	if err := os.RemoveAll(part); err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()

	client, done, err := restoredStore(ctx, cfg, part)
	if err != nil {
		return Restored{}, err
	}
	var restored Restored
	sealed := 0
	next, stop := iter.Pull2(keysOf(r, part, &restored))
	defer stop()
	err = store.Load(ctx, client, func() (string, []byte, bool, error) {
		kv, err, ok := next()
		if store.IsSecretValue(kv.key) {
			sealed++
		}
		return kv.key, kv.value, ok, err
	})
	if err = errors.Join(err, done()); err != nil {
		return Restored{}, err
	}
	if sealed > 0 {
		cfg.Log.Warn("the backup has secrets, sealed: they open only with the keys that the distributor had, which are in no backup; put its file of keys in place before waft serve starts, or name it (--secret-key)",
			"values", sealed, "default", filepath.Join(cfg.Data, secretKeyFile))
	}
	return restored, settle(cfg.Data, part)
}

// restoredStore is the store that takes the state.
func restoredStore(ctx context.Context, cfg Restoration, part string) (*clientv3.Client, func() error, error) {
	if cfg.Etcd.Used() {
		client, err := store.Connect(cfg.Etcd, cfg.Log)
		if err != nil {
			return nil, nil, err
		}
		return client, client.Close, nil
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	etcd, err := store.StartEmbedded(starting, part, cfg.Log)
	if err != nil {
		return nil, nil, err
	}
	return etcd.Client(), etcd.Close, nil
}

type keyValue struct {
	key   string
	value []byte
}

// keysOf reads a backup: it gives its keys, and then writes its files below part. It ends with an error where the backup is not whole.
func keysOf(r io.Reader, part string, restored *Restored) iter.Seq2[keyValue, error] {
	return func(yield func(keyValue, error) bool) {
		enough := errors.New("enough")
		var err error
		restored.Header, restored.End, err = backup.Read(r, backup.Parts{
			Key: func(key string, value []byte) error {
				if !yield(keyValue{key, value}, nil) {
					return enough
				}
				return nil
			},
			File: func(path string, size int64, content io.Reader) error {
				if folder, _, _ := strings.Cut(path, "/"); !slices.Contains(savedFolders, folder) {
					return model.Invalidf("the backup", "", "use another backup", "%.255q has no place in a data folder", path)
				}
				return writeRestored(filepath.Join(part, filepath.FromSlash(path)), content)
			},
		})
		if err != nil && !errors.Is(err, enough) {
			yield(keyValue{}, err)
		}
	}
}

// writeRestored writes one file through to the disk.
func writeRestored(path string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// settle puts what was restored in place.
func settle(data, part string) error {
	for _, folder := range append(slices.Clone(savedFolders), etcdFolder) {
		if err := os.Rename(filepath.Join(part, folder), filepath.Join(data, folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d, err := os.Open(data)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
