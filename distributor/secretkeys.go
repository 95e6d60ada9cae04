package distributor

import (
	"log/slog"
	"path/filepath"

	"github.com/waft-project/waft/distributor/envelope"
	"github.com/waft-project/waft/distributor/service"
)

// secretKeyFile in a data folder holds the keys of secrets where no other file is named. It is in no backup: whoever has a backup could read them then.
const secretKeyFile = "secret.key"

// keyring opens the keys of secrets; nil: there are none. Replicas are not given one each: values that one has sealed no other could open.
func (c Config) keyring(log *slog.Logger) (service.Keys, error) {
	switch {
	case c.SecretKey != "":
		return envelope.OpenKeyring(c.SecretKey)
	case c.Etcd.Used():
		return nil, nil
	}
	path := filepath.Join(c.Data, secretKeyFile)
	keys, made, err := envelope.MakeKeyring(path)
	if err != nil {
		return nil, err
	}
	if made {
		log.Info("made a key for the secrets that this distributor keeps; keep a copy of it apart from backups, or name another file with --secret-key", "file", path)
	}
	return keys, nil
}
