package distributor

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/authority"
)

// developmentPolicy is the access policy of a distributor that makes its own certificates: one person may do everything, and nodes are nodes.
const developmentPolicy = `# Who may do what with this distributor; see docs/access.md. It is read again when it changes.
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: development}
spec:
  bindings:
  - name: operators
    subjects: [{certificate: "spiffe://` + authority.TrustDomain + `/person/operator"}]
    roles: [publisher, operator, approver]
    layers: ["*", "emergency/*"]
    repositories: ["**"]
  - name: nodes
    subjects: [{certificate: "spiffe://` + authority.TrustDomain + `/node/{node}"}]
    roles: [node]
`

// operatorName is the person for whom a certificate is made at the start.
const operatorName = "operator"

// makesCertificates says whether TLS is on and no files are named for it.
func (c Config) makesCertificates() bool { return !c.Insecure && c.TLS == (TLS{}) }

// withCertificates fills in the files of this distributor's own authority, which it makes at the first start, and an access policy where there is none. The
// data folder must be this process's.
func (c Config) withCertificates(log *slog.Logger) (Config, error) {
	dir := authority.Folder(c.Data)
	ca, made, err := authority.OpenOrMake(dir)
	if err != nil {
		return c, err
	}
	server, err := ca.Server(c.hosts())
	if err != nil {
		return c, fmt.Errorf("make the server's certificate: %w", err)
	}
	person, err := ca.Person(operatorName)
	if err != nil {
		return c, fmt.Errorf("make the operator's certificate: %w", err)
	}
	c.TLS = TLS{Cert: server.Cert, Key: server.Key, ClientCA: ca.CA()}
	if c.Access == nil {
		policy := filepath.Join(dir, "access.yaml")
		if _, err := os.Lstat(policy); errors.Is(err, fs.ErrNotExist) {
			if err := writeWhole(policy, []byte(developmentPolicy)); err != nil {
				return c, fmt.Errorf("write the access policy: %w", err)
			}
		}
		if c.Access, err = access.Open(policy); err != nil {
			return c, err
		}
	}
	said := "this distributor issues its own certificates, for development; name others with --tls-cert, --tls-key and --client-ca"
	if made {
		said = "made an authority for certificates, for development; name others with --tls-cert, --tls-key and --client-ca"
	}
	log.Info(said, "ca", ca.CA(), "cert", person.Cert, "key", person.Key, "access", c.Access.Path())
	return c, nil
}

// hosts are the names and addresses by which clients may call this distributor.
func (c Config) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	add := func(host string) {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			hosts = append(hosts, host)
		}
	}
	if h, err := os.Hostname(); err == nil {
		add(h)
	}
	for _, name := range append([]string{c.GRPC, c.HTTP}, c.Names...) {
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		add(name)
	}
	return hosts
}
