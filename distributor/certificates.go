package distributor

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/port"
)

// certificates are those of the ports and of the sinks that are dialled, as their files are now. Nil where TLS is off.
type certificates struct {
	pair *certfile.Pair
	// clients vouch for clients, and sinks for sinks that are dialled; nil: clients are asked for none, and the system's authorities vouch for sinks.
	clients, sinks *certfile.Authorities
}

// open reads the files; nil when TLS is off.
func (t TLS) open(log *slog.Logger) (*certificates, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	pair, err := certfile.OpenPair(t.Cert, t.Key, log)
	if err != nil {
		return nil, err
	}
	c := &certificates{pair: pair}
	if t.ClientCA != "" {
		if c.clients, err = certfile.OpenAuthorities(t.ClientCA, log); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// openCertificates reads all files of a distributor.
func openCertificates(cfg Config, log *slog.Logger) (*certificates, error) {
	c, err := cfg.TLS.open(log)
	if c != nil && err == nil && cfg.SinkCA != "" && len(cfg.Sinks) > 0 {
		c.sinks, err = certfile.OpenAuthorities(cfg.SinkCA, log)
	}
	return c, err
}

// suites are those that HTTP/2 allows (RFC 9113, appendix A) with TLS 1.2; TLS 1.3 has its own.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// server is the TLS of a port. Clients may come without a certificate only where lenient says so; who wants one of them then asks for it.
func (c *certificates) server(lenient bool, protocols ...string) *tls.Config {
	// Records are of the largest size from the start: small ones, by which a browser shows a page sooner, would have each resource take two, and two system calls.
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, DynamicRecordSizingDisabled: true}
	if slices.Contains(protocols, port.ALPN) {
		base.CipherSuites = suites
	}
	switch {
	case c.clients == nil:
	case lenient:
		base.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return certfile.Server(base, c.pair, c.clients)
}

// client is the TLS for a sink that is dialled.
func (c *certificates) client() *tls.Config {
	return certfile.Client(&tls.Config{MinVersion: tls.VersionTLS12}, c.pair, c.sinks)
}

// lives are the certificates by the names of their flags.
func (c *certificates) lives() map[string]certfile.Mortal {
	lives := map[string]certfile.Mortal{}
	if c == nil {
		return lives
	}
	lives["tls-cert"] = c.pair
	if c.clients != nil {
		lives["client-ca"] = c.clients
	}
	if c.sinks != nil {
		lives["sink-ca"] = c.sinks
	}
	return lives
}

// registerCertificates shows until when certificates are good.
func registerCertificates(r prometheus.Registerer, lives map[string]certfile.Mortal) error {
	var errs []error
	for name, of := range lives {
		errs = append(errs, r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "waft_certificate_not_after_seconds", ConstLabels: prometheus.Labels{"certificate": name},
			Help: "Until when a certificate is good, in seconds since 1970; of several authorities, the one that ends first.",
		}, func() float64 {
			_, until := of.Life()
			return float64(until.Unix())
		})))
	}
	return errors.Join(errs...)
}
