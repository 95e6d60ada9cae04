package access_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waft-project/waft/distributor/access"
)

// Tags of names in the subjectAltName of a certificate (RFC 5280, section 4.2.1.6).
const (
	tagDNS = 2
	tagURI = 6
)

// alternative is a subjectAltName of one kind of names.
func alternative(f *testing.F, tag int, names ...string) []byte {
	f.Helper()
	var all []asn1.RawValue
	for _, name := range names {
		all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(name)})
	}
	return der(f, all)
}

func der(f *testing.F, v any) []byte {
	f.Helper()
	raw, err := asn1.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// subject is a subject with a common name, as the kind of string that tag says.
func subject(f *testing.F, tag int, name string) []byte {
	f.Helper()
	attribute := struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: tag, Bytes: []byte(name)}}
	return der(f, []asn1.RawValue{{Tag: asn1.TagSet, IsCompound: true, Bytes: der(f, attribute)}})
}

// FuzzOfCertificate reads who a client is from whatever an authority may have put into a certificate: its subject and its other names are any bytes that Go takes for
// such. No name passes for one of another kind, or for a token's, and each can be written down.
func FuzzOfCertificate(f *testing.F) {
	none := der(f, pkix.Name{}.ToRDNSequence())
	f.Add(subject(f, asn1.TagUTF8String, "ann"), []byte(nil))
	f.Add(subject(f, asn1.TagPrintableString, "dns:x"), alternative(f, tagDNS, "Host.Example.org", "other"))
	f.Add(subject(f, asn1.TagT61String, "\xff\x80ann"), []byte(nil))
	f.Add(subject(f, asn1.TagBMPString, "\x00a\xd8\x00"), []byte(nil))
	f.Add(subject(f, asn1.TagUTF8String, strings.Repeat("a", 300)), []byte(nil))
	f.Add(none, []byte(nil))
	f.Add(none, alternative(f, tagDNS, "\x00", "cn:ann"))
	f.Add(none, alternative(f, tagURI, "spiffe://example.org/node/a"))
	f.Add(none, alternative(f, tagURI, "SPIFFE://example.org/node/a", "https://x.example"))
	f.Add(none, alternative(f, tagURI, "spiffe://u@example.org/a?b#c"))
	f.Add(none, alternative(f, tagURI, "https://a.example/%2e%2e", "cn:ann"))
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, subject, names []byte) {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotAfter: until}
		if len(names) > 0 {
			template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}
		}
		raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return // no handshake comes to its end with it
		}
		id, err := access.OfCertificate(c)
		if err != nil {
			if id.Known() || len(id.Certificate) > 0 || len(err.Error()) > 1<<10 {
				t.Errorf("%+v, and %v", id, err)
			}
			return
		}
		if !id.Known() || id.Name != id.Certificate[0] || len(id.Name) > 256 || !id.Expires.Equal(until) || id.Issuer+id.User != "" || len(id.Groups) > 0 {
			t.Errorf("%+v", id)
		}
		for i, name := range id.Certificate {
			kind, rest, ok := strings.Cut(name, ":")
			switch {
			case !ok || rest == "" || strings.Contains(kind, "/"):
				t.Errorf("%q could be a token's", name)
			case !utf8.ValidString(name):
				t.Errorf("%q cannot be written down", name)
			case len(c.URIs) == 0:
				if cn := "cn:" + c.Subject.CommonName; name != cn && (kind != "dns" || name != strings.ToLower(name)) || i > 0 && kind == "cn" {
					t.Errorf("name %d is %q", i, name)
				}
			default:
				u, err := url.Parse(name)
				if err != nil || u.Host == "" || u.String() != name || len(id.Certificate) != len(c.URIs) {
					t.Errorf("of %v name %d is %q: %v", c.URIs, i, name, err)
				} else if strings.EqualFold(u.Scheme, "spiffe") && (len(id.Certificate) > 1 || strings.ContainsAny(name, "?#@")) {
					t.Errorf("of %v name %d is %q", c.URIs, i, name)
				}
			}
		}
	})
}
