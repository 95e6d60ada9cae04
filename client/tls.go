package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// LoadTLS is a Config.TLS from PEM files: the authorities of ca (empty: the system's) are trusted, and the application shows the certificate in cert with the key
// in key, which say which node it may be. These two are read anew for each connection, so that a certificate that is replaced, as those of SPIFFE are every
// hour or so, is used from the next connection on. An error says which file cannot be used.
func LoadTLS(ca, cert, key string) (*tls.Config, error) {
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate of the application, %s with the key %s: %w", cert, key, err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	settings := &tls.Config{
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() },
	}
	if ca == "" {
		return settings, nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("authorities of the distributor: %w", err)
	}
	settings.RootCAs = x509.NewCertPool()
	if !settings.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities of the distributor: %s has no certificate in PEM", ca)
	}
	return settings, nil
}
