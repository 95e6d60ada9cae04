package fleet

import (
	"context"
	"os"
	"path/filepath"
)

// data is the distributor's data folder.
func (f *Fleet) data() string { return filepath.Join(f.Dir, "serve") }

// Server is the flags by which a command finds the fleet's distributor; where it is Secure, as the operator that the distributor makes a certificate for.
func (f *Fleet) Server() []string {
	if !f.Secure {
		return []string{"--server", f.grpc, "--insecure"}
	}
	ca, cert, key := f.operator()
	return []string{"--server", f.grpc, "--ca", ca, "--cert", cert, "--key", key}
}

// Registry is the flags by which a command reaches the registry of the fleet's distributor.
func (f *Fleet) Registry() []string {
	if !f.Secure {
		return []string{"--plain-http", f.http}
	}
	ca, cert, key := f.operator()
	return []string{"--registry-ca", ca, "--registry-cert", cert, "--registry-key", key}
}

func (f *Fleet) operator() (ca, cert, key string) {
	dir := filepath.Join(f.data(), "tls") // as docs/access.md says
	return filepath.Join(dir, "ca.pem"), filepath.Join(dir, "person-operator.pem"), filepath.Join(dir, "person-operator.key")
}

// Identity is the flags by which a node shows who it is, to an agent or to `waft bootstrap`. Where the fleet is Secure, its
// certificate is issued, unless it has been.
func (f *Fleet) Identity(id string) ([]string, error) {
	if !f.Secure {
		return []string{"--insecure"}, nil
	}
	dir := filepath.Join(f.Dir, "certificates")
	cert := filepath.Join(dir, id+".pem")
	if _, err := os.Stat(cert); err != nil {
		if _, err := f.Command(context.Background(), nil, "certificate", "node", id, "--data", f.data(), "--dir", dir); err != nil {
			return nil, err
		}
	}
	ca, _, _ := f.operator()
	return []string{"--ca", ca, "--cert", cert, "--key", filepath.Join(dir, id+".key")}, nil
}
