package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// identity is the certificate of one life of a replica. It is signed by nobody: its fingerprint in etcd is what counts.
type identity struct {
	certificate tls.Certificate
	fingerprint string
}

// identityLife is what the certificate says of its end, which nobody asks: it ends with its entry in etcd.
const identityLife = 10 * 365 * 24 * time.Hour

func newIdentity(name string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "waft replica " + name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(identityLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return identity{}, fmt.Errorf("make the certificate for other replicas: %w", err)
	}
	return identity{certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint: fingerprint(der)}, nil
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// errStranger ends a handshake with somebody who is no replica.
var errStranger = errors.New("the certificate is of no replica that stands in etcd")

// config is TLS by which the other end must be known: accept says whether a fingerprint is.
func (i identity) config(accept func(fingerprint string) bool, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.certificate}, NextProtos: protocols,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		// No authority vouches for these certificates: VerifyConnection, which is asked in each handshake, is all there is, and is enough.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !accept(fingerprint(state.PeerCertificates[0].Raw)) {
				return errStranger
			}
			return nil
		},
	}
}
