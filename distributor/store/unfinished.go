package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

// removeUnfinished removes etcd's folder when its first start was cut short after it had made its log and before it had
// written anything into it. Such a member has no voter and never gets ready, and nothing can have been stored by it.
// A folder that holds anything, or that cannot be read, is left as it is: then etcd itself says what is wrong.
func removeUnfinished(folder string, log *slog.Logger) error {
	path := filepath.Join(folder, "member", "wal")
	if !wal.Exist(path) {
		return nil
	}
	if snapshots, err := filepath.Glob(filepath.Join(folder, "member", "snap", "*.snap")); err != nil || len(snapshots) > 0 {
		return err
	}
	reader, err := wal.OpenForRead(zap.NewNop(), path, &walpb.Snapshot{})
	if err != nil {
		return nil //nolint:nilerr // etcd reports it, with more context
	}
	_, state, entries, err := reader.ReadAll()
	_ = reader.Close()
	if err != nil || len(entries) > 0 || state.GetTerm() != 0 || state.GetCommit() != 0 {
		return nil //nolint:nilerr // as above
	}
	log.Warn("the first start in this folder was cut short before it stored anything; starting anew", "folder", folder)
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove what a first start left unfinished: %w", err)
	}
	return nil
}
