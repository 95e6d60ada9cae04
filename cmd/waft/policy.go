package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

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
			if changed, err := file.Reload(); err != nil {
				log.Error("SIGHUP: the trust policy's file cannot be used; the policy stays what it was", "error", err)
			} else if !changed {
				log.Info("SIGHUP: the trust policy has not changed", "file", path)
			}
		}
	}()
	return file, nil
}
