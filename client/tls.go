package client

import (
	"crypto/tls"
	"log/slog"

	"github.com/waft-project/waft/distributor/certfile"
)

// LoadTLS is a Config.TLS from PEM files: the authorities of ca (empty: the system's) vouch for the distributor, and the application shows the certificate in cert,
// whose key is in key, which says which node it may be. The files are looked at for each connection, so that what is replaced, as those of SPIFFE are every hour or
// so, counts from the next one on, and those that stand go on; what cannot be used then is logged, and leaves in use what was there. An error says which file cannot
// be used now. log may be nil.
func LoadTLS(ca, cert, key string, log *slog.Logger) (func() *tls.Config, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	pair, err := certfile.OpenPair(cert, key, log)
	if err != nil {
		return nil, err
	}
	var servers *certfile.Authorities
	if ca != "" {
		if servers, err = certfile.OpenAuthorities(ca, log); err != nil {
			return nil, err
		}
	}
	return func() *tls.Config { return certfile.Client(&tls.Config{MinVersion: tls.VersionTLS12}, pair, servers) }, nil
}
