package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"time"

	"github.com/waft-project/waft/distributor/watched"
)

// lookEvery is how often files are looked at, at the most.
const lookEvery = time.Second

// Pair is a certificate, with those between it and its authority, and its key. It may be used concurrently.
type Pair struct {
	files *watched.Files[*tls.Certificate]
}

// OpenPair reads a certificate and its key. Errors, which name the files, are of files that cannot be read, that are no PEM, or that do not belong together. What
// is wrong with them later goes to the log, as does that a new one is in use.
func OpenPair(cert, key string, log *slog.Logger) (*Pair, error) {
	parse := func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		return &pair, err
	}
	told := func(pair *tls.Certificate, err error) {
		if err != nil {
			log.Error("a certificate cannot be used; the one from before is", "certificate", cert, "key", key, "error", err)
			return
		}
		log.Info("a certificate was read again", "certificate", cert, "not_after", notAfter(pair.Leaf))
	}
	files, err := watched.Open(lookEvery, parse, told, cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key %s: %w", cert, key, err)
	}
	return &Pair{files}, nil
}

// Certificate is the one to show now. It must not be changed.
func (p *Pair) Certificate() *tls.Certificate { return p.files.Now() }

// Life is when the certificate begins and ends to be good.
func (p *Pair) Life() (from, until time.Time) {
	leaf := p.Certificate().Leaf
	return leaf.NotBefore, leaf.NotAfter
}

// Authorities are those that may vouch for the other end. They may be used concurrently.
type Authorities struct{ files *watched.Files[*bundle] }

// bundle are authorities, of which first ends first.
type bundle struct {
	pool  *x509.CertPool
	first *x509.Certificate
}

// OpenAuthorities reads a file of certificates. Errors name it; later ones go to the log.
func OpenAuthorities(file string, log *slog.Logger) (*Authorities, error) {
	told := func(_ *bundle, err error) {
		if err != nil {
			log.Error("certificate authorities cannot be used; those from before are", "file", file, "error", err)
			return
		}
		log.Info("certificate authorities were read again", "file", file)
	}
	parse := func(contents [][]byte) (*bundle, error) { return parseBundle(file, contents[0]) }
	files, err := watched.Open(lookEvery, parse, told, file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	return &Authorities{files}, nil
}

// Pool are the authorities now: another pool, by its address, after each change. It must not be changed.
func (a *Authorities) Pool() *x509.CertPool { return a.files.Now().pool }

// Life is that of the authority which ends first.
func (a *Authorities) Life() (from, until time.Time) {
	first := a.files.Now().first
	return first.NotBefore, first.NotAfter
}

// parseBundle takes the certificates of a file, and leaves out, as x509 does, what is something else.
func parseBundle(file string, content []byte) (*bundle, error) {
	b := &bundle{pool: x509.NewCertPool()}
	for len(content) > 0 {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		b.pool.AddCert(cert)
		if b.first == nil || cert.NotAfter.Before(b.first.NotAfter) {
			b.first = cert
		}
	}
	if b.first == nil {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return b, nil
}

func notAfter(cert *x509.Certificate) string { return cert.NotAfter.UTC().Format(time.RFC3339) }
