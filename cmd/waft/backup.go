package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/backup"
)

func newBackup() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all that a running distributor knows to a file",
		Long: `Write all that a running distributor knows to a file: releases, rollouts, the ledger of nodes and the audit log as of one moment, and the modules that it has.
The distributor works on meanwhile. What arrives is checked while it is written, and the file is there only when it is whole.

Not in it are keys, certificates and policy files: keep DATA/tls, DATA/secret.key and what the flags of waft serve name where you keep secrets. Secrets that the
distributor keeps are in it as they are in its store, sealed.`,
		Example: `  waft backup waft-2026-11-29.tar`,
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if err := checkOutFile("FILE", args[0]); err != nil {
				return err
			}
			var h backup.Header
			var end backup.End
			err := server.call(cmd, func(ctx context.Context, c *api.Client) (err error) {
				h, end, err = saveBackup(ctx, c, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), backupSummary(h, end), func(t *table) { backupRow(t, h, end) })
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

// saveBackup writes what the distributor sends, and reads it as a restore does. The file is its owner's alone: configurations are in it.
func saveBackup(ctx context.Context, c *api.Client, path string) (h backup.Header, end backup.End, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Backups.Backup(ctx, &waftv1.BackupRequest{})
	if err != nil {
		return h, end, err
	}
	err = writeWhole(path, 0o600, func(f *os.File) error {
		sent := &received{stream: stream}
		from := io.TeeReader(sent, f)
		h, end, err = backup.Read(from, backup.Parts{
			Key:  func(string, []byte) error { return nil },
			File: func(_ string, _ int64, content io.Reader) error { _, err := io.Copy(io.Discard, content); return err },
		})
		if sent.err != nil {
			return sent.err // why it was cut short
		}
		if err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, from) // tar pads its end
		return err
	})
	return h, end, err
}

// received is a stream of parts as a reader.
type received struct {
	stream interface {
		Recv() (*waftv1.BackupResponse, error)
	}
	rest []byte
	// err is why it ended, but for its end.
	err error
}

// Read implements io.Reader.
func (r *received) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		part, err := r.stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
			return 0, err
		}
		r.rest = part.GetData()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func newRestore() *cobra.Command {
	var logs logFlags
	var out output
	var cfg distributor.Restoration
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data folder, or an etcd, of what waft backup has written",
		Long: `Make a data folder of what waft backup has written, for waft serve to start from; with --etcd the state goes into that etcd and the modules into the folder.
Both must be empty, but for keys (DATA/tls). Nothing is put in place before the whole file was read and found to be what was written.

A distributor that starts from a backup knows what was then. Nodes that have moved since are sent what they had: read docs/backup.md first.`,
		Example: `  waft restore waft-2026-11-29.tar --data /var/lib/waft
  waft restore waft-2026-11-29.tar --data /var/lib/waft --etcd https://etcd-1:2379,https://etcd-2:2379,https://etcd-3:2379 --etcd-ca ca.pem`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var err error
			if cfg.Log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			restored, err := distributor.Restore(cmd.Context(), cfg, bufio.NewReader(f))
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			return out.print(cmd.OutOrStdout(), backupSummary(restored.Header, restored.End), func(t *table) { backupRow(t, restored.Header, restored.End) })
		},
	}
	cmd.Flags().StringVar(&cfg.Data, "data", "./waft-data", "the data folder to make")
	etcdFlags(cmd, &cfg.Etcd)
	out.flag(cmd)
	logs.flags(cmd)
	_ = cmd.Flags().Set("log-level", "warn") // etcd is started for a moment, and has much to say of it
	return cmd
}

func backupSummary(h backup.Header, end backup.End) map[string]any {
	return map[string]any{"made": h.Made.Format(time.RFC3339), "version": h.Version, "keys": end.Keys, "files": end.Files, "bytes": end.Bytes}
}

func backupRow(t *table, h backup.Header, end backup.End) {
	t.row("MADE", "BY", "KEYS", "FILES", "BYTES")
	t.row(h.Made.Local().Format(time.DateTime), "waft "+h.Version, end.Keys, end.Files, end.Bytes)
}
