package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/registry/trust"
)

// openPolicy opens the file of --trust-policy, and reads it anew on each SIGHUP until ctx ends; nil where there is none. That the file has changed by itself is
// for whoever uses it to watch.
func openPolicy(ctx context.Context, path string, log *slog.Logger) (*trust.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := trust.Open(path)
	if err != nil {
		return nil, err
	}
	onHangup(ctx, log, "trust policy", path, file.Reload)
	return file, nil
}

// openAccess is openPolicy for the file of --access.
func openAccess(ctx context.Context, path string, log *slog.Logger) (*access.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := access.Open(path)
	if err != nil {
		return nil, err
	}
	onHangup(ctx, log, "access policy", path, file.Reload)
	return file, nil
}

// onHangup reads a policy's file anew on each SIGHUP until ctx ends.
func onHangup(ctx context.Context, log *slog.Logger, what, path string, reload func() (changed bool, err error)) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			if changed, err := reload(); err != nil {
				log.Error("SIGHUP: the "+what+"'s file cannot be used; the policy stays what it was", "error", err)
			} else if !changed {
				log.Info("SIGHUP: the "+what+" has not changed", "file", path)
			}
		}
	}()
}
