package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Identity is who asks, as far as it is proved. The zero value is somebody who has proved nothing. It is not changed once it is made.
type Identity struct {
	// Name is what logs and the audit log call it: the first of Certificate, or ISSUER/USER for who has shown a token. Empty for who has proved nothing.
	Name string
	// Certificate are the names that a client's certificate proves, as bindings write them: its URI, a SPIFFE id among them, as it is; or, where
	// it has none, cn:COMMON-NAME and then dns:NAME for each name of a host.
	Certificate []string
	// Issuer is the name of the policy's issuer that vouches for a token, and User and Groups are what it says. Empty where a certificate proves who it is.
	Issuer, User string
	Groups       []string
	// Expires is when what it is proved by ends; zero: never.
	Expires time.Time
}

// Known says whether anything is proved.
func (i Identity) Known() bool { return i.Name != "" }

// is says whether somebody of that name is this one: by any of the names that are proved.
func (i Identity) is(name string) bool {
	return name == i.Name || slices.Contains(i.Certificate, name)
}

// OfToken is who has shown a token of an issuer, which must be verified already. The name cannot be one of a certificate, all of which have a colon before
// any slash.
func OfToken(issuer, user string, groups []string, expires time.Time) Identity {
	return Identity{Name: issuer + "/" + user, Issuer: issuer, User: user, Groups: groups, Expires: expires}
}

// spiffeScheme begins a SPIFFE id.
const spiffeScheme = "spiffe://"

// Prefixes of names in certificates that are no URIs.
const (
	prefixCN  = "cn:"
	prefixDNS = "dns:"
)

// maxName bounds the name of an Identity, in bytes: it stands in the audit log, which takes no longer one.
const maxName = 256

// Errors of OfCertificate.
var (
	errSeveralURIs = errors.New("the certificate has a SPIFFE id and other URIs beside it; an X.509 SVID has exactly one URI (X509-SVID, section 2)")
	errNoName      = errors.New("the certificate has neither a URI nor a common name nor the name of a host")
)

// OfCertificate reads who a client is from its certificate, which must be verified already. Where it has a URI, nothing else of it counts:
// an authority of SPIFFE ids vouches for those, and for the other names maybe not.
func OfCertificate(c *x509.Certificate) (Identity, error) {
	id := Identity{Expires: c.NotAfter}
	for _, u := range c.URIs {
		if u.Scheme == "" || u.Host == "" {
			return Identity{}, fmt.Errorf("the certificate's URI %.256q has no host, and could pass for a name of another kind", u)
		}
		if strings.EqualFold(u.Scheme, "spiffe") && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil) {
			return Identity{}, fmt.Errorf("the certificate's SPIFFE id %.256q has more than a trust domain and a path (SPIFFE ID, section 2)", u)
		}
		id.Certificate = append(id.Certificate, u.String())
	}
	for _, name := range id.Certificate {
		if len(id.Certificate) > 1 && strings.HasPrefix(strings.ToLower(name), spiffeScheme) {
			return Identity{}, errSeveralURIs
		}
	}
	if len(id.Certificate) == 0 {
		if c.Subject.CommonName != "" {
			id.Certificate = append(id.Certificate, prefixCN+c.Subject.CommonName)
		}
		for _, name := range c.DNSNames {
			id.Certificate = append(id.Certificate, prefixDNS+strings.ToLower(name))
		}
	}
	if len(id.Certificate) == 0 {
		return Identity{}, errNoName
	}
	id.Name = id.Certificate[0]
	if len(id.Name) > maxName {
		return Identity{}, fmt.Errorf("the first name in the certificate has %d bytes, and the limit is %d", len(id.Name), maxName)
	}
	return id, nil
}
