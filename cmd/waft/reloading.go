package main

import (
	"context"
	"crypto/tls"
	"log/slog"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/certfile"
)

// reloadingTLS is the TLS of files for what runs for long: what it gives is as the files are then. The log says which of them end soon, until ctx ends.
func reloadingTLS(ctx context.Context, t api.ClientTLS, log *slog.Logger) (func() *tls.Config, error) {
	base, err := t.Config() // and what is wrong with the flags
	if err != nil {
		return nil, err
	}
	base.Certificates, base.RootCAs = nil, nil
	var pair *certfile.Pair
	var servers *certfile.Authorities
	lives := map[string]certfile.Mortal{}
	if t.Cert != "" {
		if pair, err = certfile.OpenPair(t.Cert, t.Key, log); err != nil {
			return nil, err
		}
		lives["cert"] = pair
	}
	if t.CA != "" {
		if servers, err = certfile.OpenAuthorities(t.CA, log); err != nil {
			return nil, err
		}
		lives["ca"] = servers
	}
	go certfile.Warn(ctx, log, lives)
	return func() *tls.Config { return certfile.Client(base, pair, servers) }, nil
}
