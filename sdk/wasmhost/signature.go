package wasmhost

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // what the functions below may be asked for
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The foreign functions verify_signature and sign (Envoy: source/extensions/common/wasm/ext/verify_signature.proto and sign.proto, and
// source/common/crypto): PKCS #1 v1.5 for an RSA key, ASN.1 for an elliptic one.

// signatureArguments are the arguments of both. pem is of Envoy 1.37 and later.
type signatureArguments struct {
	hash                 string
	der, signature, text []byte
	pem                  string
}

// readSignatureArguments is false if the bytes are no such message. Fields are given by their numbers.
func readSignatureArguments(b []byte, fields map[protowire.Number]any) bool {
	return eachField(b, func(field protowire.Number, value []byte) bool {
		switch to := fields[field].(type) {
		case *string:
			*to = string(value)
			return utf8.Valid(value)
		case *[]byte:
			*to = value
		}
		return true
	})
}

// hashFunction finds a hash function by its name.
func (a *signatureArguments) hashFunction() (crypto.Hash, bool) {
	h, ok := map[string]crypto.Hash{
		"sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
	}[strings.ToLower(a.hash)]
	return h, ok
}

func digest(h crypto.Hash, text []byte) []byte {
	w := h.New()
	_, _ = w.Write(text) // never fails
	return w.Sum(nil)
}

// verifySignature is the foreign function.
func (p Profile) verifySignature(b []byte) ([]byte, Status) {
	var a signatureArguments
	fields := map[protowire.Number]any{1: &a.hash, 2: &a.der, 3: &a.signature, 4: &a.text}
	if p.signs {
		fields[5] = &a.pem
	}
	if !readSignatureArguments(b, fields) {
		return nil, StatusBadArgument
	}
	if p.signs && !a.oneKey() {
		return nil, StatusBadArgument
	}
	result := func(failure string) ([]byte, Status) {
		if failure == "" {
			return protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), StatusOK
		}
		return protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), failure), StatusOK
	}
	h, ok := a.hashFunction()
	if !ok {
		return result(a.hash + " is not supported.")
	}
	switch key := a.publicKey().(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, h, digest(h, a.text), a.signature) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(key, digest(h, a.text), a.signature)
	default:
		return result("Failed to initialize digest verify.")
	}
	if !ok {
		return result("Failed to verify digest. Error code: 0")
	}
	return result("")
}

// sign is the foreign function, which Envoy has from 1.37 on.
func sign(b []byte) ([]byte, Status) {
	var a signatureArguments
	if !readSignatureArguments(b, map[protowire.Number]any{1: &a.hash, 2: &a.der, 3: &a.text, 4: &a.pem}) {
		return nil, StatusBadArgument
	}
	if !a.oneKey() {
		return nil, StatusBadArgument
	}
	failed := func(failure string) ([]byte, Status) {
		return protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), failure), StatusOK
	}
	h, ok := a.hashFunction()
	if !ok {
		return failed(a.hash + " is not supported.")
	}
	var signature []byte
	var err error
	switch key := a.privateKey().(type) {
	case nil:
		return failed("Invalid key type: private key required for signing operation.")
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(nil, key, h, digest(h, a.text))
	case *ecdsa.PrivateKey:
		signature, err = ecdsa.SignASN1(rand.Reader, key, digest(h, a.text))
	default:
		return failed("Invalid private key: key data is corrupted or malformed.") // of a kind that signs no digests
	}
	if err != nil {
		return failed("Failed to sign digest. Error code: 0")
	}
	out := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	return protowire.AppendBytes(protowire.AppendTag(out, 2, protowire.BytesType), signature), StatusOK
}

// oneKey says whether a key is given, and in one form.
func (a *signatureArguments) oneKey() bool { return (a.pem == "") != (len(a.der) == 0) }

// bytes is the key in DER, of which nothing that follows it counts; nil if there is none. types are what a PEM block may hold.
func (a *signatureArguments) bytes(types ...string) (der []byte, kind string) {
	if a.pem == "" {
		var first asn1.RawValue
		if _, err := asn1.Unmarshal(a.der, &first); err != nil {
			return nil, ""
		}
		return first.FullBytes, types[0]
	}
	for rest := []byte(a.pem); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, ""
		}
		for _, t := range types {
			if block.Type == t {
				return block.Bytes, t
			}
		}
	}
}

// publicKey is nil if there is none that can be read.
func (a *signatureArguments) publicKey() any {
	der, _ := a.bytes("PUBLIC KEY")
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil
	}
	return key
}

func (a *signatureArguments) privateKey() (key any) {
	der, kind := a.bytes("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
	var err error
	switch kind {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		key, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil {
		return nil
	}
	return key
}
