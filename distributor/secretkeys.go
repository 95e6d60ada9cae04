package distributor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/distributor/envelope"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
)

// secretKeyFile in a data folder holds the keys of secrets where no other file is named. It is in no backup: whoever has a backup could read them then.
const secretKeyFile = "secret.key"

// keyring opens the keys of secrets; nil: there are none. Replicas are not given one each: values that one has sealed no other could open. st is the store in the data folder, which
// is this process's; nil with Etcd.
//
// A key is made only where nothing is sealed yet: one that is made in the place of one that was lost, or is not yet in its place after a restore, would seal values beside those that
// it cannot open, and whoever puts the old one there would then lose the new. Without it the distributor serves all else.
func (c Config) keyring(ctx context.Context, st *store.Store, log *slog.Logger) (service.Keys, error) {
	switch {
	case c.SecretKey != "":
		return envelope.OpenKeyring(c.SecretKey, log)
	case st == nil:
		return nil, nil
	}
	path := filepath.Join(c.Data, secretKeyFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return envelope.OpenKeyring(path, log)
	}
	sealed, err := st.HasSealed(ctx)
	if err != nil {
		return nil, err
	}
	if sealed {
		log.Error("the keys of secrets are gone, and the store has values that are sealed with them; no other is made. Put the file back; if it is lost, write a new one (docs/secrets.md) and set each secret anew. An old key that is found later is added to the file",
			"file", path)
		return envelope.AwaitKeyring(path, log), nil
	}
	keys, err := envelope.MakeKeyring(path, log)
	if err != nil {
		return nil, err
	}
	log.Info("made a key for the secrets that this distributor keeps; keep a copy of it apart from backups, or name another file with --secret-key", "file", path)
	return keys, nil
}
