package signing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/waft-project/waft/registry/signing"
)

func pemOf(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func password(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

func TestKeySources(t *testing.T) {
	keys := newKeys(t)
	ec := keys["ECDSA"].(*ecdsa.PrivateKey)
	files := map[string]string{}
	for kind, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		files["PKCS #8 "+kind] = pemOf(t, "PRIVATE KEY", der, err)
	}
	der, err := x509.MarshalECPrivateKey(ec)
	files["SEC 1"] = pemOf(t, "EC PRIVATE KEY", der, err)
	files["PKCS #1"] = pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys["RSA"].(*rsa.PrivateKey)), nil)
	der, err = cryptoutils.MarshalPrivateKeyToEncryptedDER(ec, func(bool) ([]byte, error) { return []byte("secret"), nil })
	files["cosign's"] = pemOf(t, "ENCRYPTED COSIGN PRIVATE KEY", der, err)
	files["Sigstore's"] = pemOf(t, "ENCRYPTED SIGSTORE PRIVATE KEY", der, err)
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key.pem")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("WAFT_TEST_KEY", text)
			var ids []signing.KeyID
			for _, source := range []string{path, "env://WAFT_TEST_KEY"} {
				s, err := signing.LoadSigner(source, password("secret"))
				if err != nil {
					t.Fatal(err)
				}
				public := publicOf(t, s)
				text, err := public.PEM()
				if err != nil {
					t.Fatal(err)
				}
				again, err := signing.ParsePublicKey(text)
				if err != nil || again.ID() != public.ID() {
					t.Errorf("%s, written and read, is %s, %v", public.ID(), again.ID(), err)
				}
				ids = append(ids, public.ID())
			}
			if ids[0] != ids[1] {
				t.Errorf("two keys: %v", ids)
			}
			if strings.Contains(text, "ENCRYPTED") {
				_, err := signing.LoadSigner(path, password("wrong"))
				wantKind(t, err, signing.ErrInvalidKey)
				_, err = signing.LoadSigner(path, nil)
				wantKind(t, err, signing.ErrInvalidKey)
			}
		})
	}
}

func TestKeysThatAreNotTaken(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pemOf(t, "PRIVATE KEY", der, err)
	}
	public := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		return pemOf(t, "PUBLIC KEY", der, err)
	}
	good := newKeys(t)["ECDSA"].(*ecdsa.PrivateKey)
	for name, text := range map[string]string{
		"empty": "", "not PEM": "key", "too long": strings.Repeat("x", signing.MaxKeyBytes+1), "RSA 1024": private(small), "P-384": private(curve),
		"a public key": public(good.Public()), "broken": pemOf(t, "PRIVATE KEY", []byte("x"), nil), "a certificate": pemOf(t, "CERTIFICATE", []byte("x"), nil),
	} {
		t.Run("private, "+name, func(t *testing.T) {
			t.Setenv("WAFT_TEST_KEY", text)
			_, err := signing.LoadSigner("env://WAFT_TEST_KEY", nil)
			wantKind(t, err, signing.ErrInvalidKey)
		})
	}
	for name, text := range map[string]string{
		"empty": "", "not PEM": "key", "too long": strings.Repeat("x", signing.MaxKeyBytes+1), "RSA 1024": public(small.Public()), "P-384": public(curve.Public()),
		"a private key": private(good), "two keys": public(good.Public()) + public(good.Public()), "broken": pemOf(t, "PUBLIC KEY", []byte("x"), nil),
	} {
		t.Run("public, "+name, func(t *testing.T) {
			t.Setenv("WAFT_TEST_KEY", text)
			_, err := signing.LoadPublicKey("env://WAFT_TEST_KEY")
			wantKind(t, err, signing.ErrInvalidKey)
			if strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
	for _, source := range []string{"env://WAFT_TEST_NOT_SET", filepath.Join(t.TempDir(), "absent.pem"), t.TempDir(), "awskms:///alias/x"} {
		_, err := signing.LoadSigner(source, nil)
		wantKind(t, err, signing.ErrInvalidKey)
		if !strings.Contains(err.Error(), source) {
			t.Errorf("the error does not name %s: %v", source, err)
		}
	}
	if _, err := signing.FromPrivateKey("key"); !errors.Is(err, signing.ErrInvalidKey) {
		t.Errorf("a string as a key: %v", err)
	}
}
