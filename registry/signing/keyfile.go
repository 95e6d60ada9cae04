package signing

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// envScheme begins a key source that names an environment variable, as cosign has it.
const envScheme = "env://"

// LoadSigner reads a private key: from a PEM file, or for env://NAME from that environment variable. It may be one of
// cosign's (encrypted), PKCS #8 (plain or encrypted), or what openssl writes for EC and RSA keys. Password is asked only for a
// key that is encrypted; nil is no password.
//
// Errors are ErrInvalidKey. None of them holds anything of the key.
func LoadSigner(source string, password func() ([]byte, error)) (Signer, error) {
	text, err := readKey(source)
	if err != nil {
		return nil, err
	}
	return ParseSigner(source, text, password)
}

// ParseSigner is LoadSigner over a PEM text. Source says in errors whose it is.
func ParseSigner(source string, text []byte, password func() ([]byte, error)) (Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, invalidKey(source, "give a PEM file with a private key, such as cosign.key", "it is not PEM")
	}
	asked := false
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(text, func(bool) ([]byte, error) {
		asked = true
		if password == nil {
			return nil, errNoPassword
		}
		return password()
	})
	switch {
	case errors.Is(err, errNoPassword):
		return nil, invalidKey(source, "give its password", "it is encrypted")
	case err != nil && asked:
		return nil, invalidKey(source, "check the password", "it cannot be decrypted: %v", err)
	case err != nil && block.Type == "PUBLIC KEY":
		return nil, invalidKey(source, "give the private key", "it is a public key, which signs nothing")
	case err != nil:
		return nil, invalidKey(source, "give a key that cosign or openssl made", "%v", err)
	}
	signer, err := FromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return signer, nil
}

var errNoPassword = errors.New("no password")

// LoadPublicKey reads a public key from a PEM file or for env://NAME from that environment variable. Errors are ErrInvalidKey.
func LoadPublicKey(source string) (PublicKey, error) {
	text, err := readKey(source)
	if err != nil {
		return PublicKey{}, err
	}
	if block, _ := pem.Decode(text); block != nil && strings.Contains(block.Type, "PRIVATE KEY") {
		return PublicKey{}, invalidKey(source, "give the public key, such as cosign.pub", "it is a private key, which nobody needs for verifying")
	}
	key, err := ParsePublicKey(text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%s: %w", source, err)
	}
	return key, nil
}

func readKey(source string) ([]byte, error) {
	if name, ok := strings.CutPrefix(source, envScheme); ok {
		text, set := os.LookupEnv(name)
		if !set {
			return nil, invalidKey(source, "set the variable to the PEM text of the key", "the environment has no variable %s", cut(name))
		}
		if len(text) > MaxKeyBytes {
			return nil, invalidKey(source, "give a PEM text with one key", "%d bytes, over the limit of %d", len(text), MaxKeyBytes)
		}
		return []byte(text), nil
	}
	if scheme, _, ok := strings.Cut(source, "://"); ok {
		return nil, invalidKey(source, "give a file or env://NAME", "keys at %s are not known here", cut(scheme+"://"))
	}
	f, err := os.Open(source)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, invalidKey(source, "give a file that can be read, or env://NAME", "%v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxKeyBytes+1))
	if err != nil {
		return nil, invalidKey(source, "give a file that can be read, or env://NAME", "%v", err)
	}
	if len(text) > MaxKeyBytes {
		return nil, invalidKey(source, "give a PEM file with one key", "more than %d bytes", MaxKeyBytes)
	}
	return text, nil
}
