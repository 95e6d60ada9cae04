package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
)

// The algorithms of RFC 7518 and RFC 8037 that the package knows. There is no way to add "none".
const (
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
	HS256 = "HS256"
)

// key is one verified-as-usable key. Its algorithm is fixed by its type (and by alg in the JWK, which must agree).
type key struct {
	id        string // "" when the JWK has no kid
	algorithm string
	check     func(input, signature []byte) bool
}

// coordinateBytes is the length of a P-256 coordinate and of each half of an ES256 signature (RFC 7518, section 3.4).
const coordinateBytes = 32

func rsaKey(n, e []byte) (func(input, signature []byte) bool, *FieldError) {
	modulus := new(big.Int).SetBytes(n)
	switch bits := modulus.BitLen(); {
	case len(n) > 0 && n[0] == 0:
		return nil, &FieldError{"n", "has leading zero bytes; RFC 7518, section 6.3.1.1 asks for the fewest bytes"}
	case bits < MinRSABits:
		return nil, fieldErrorf("n", "the modulus has %d bits, at least %d are needed", bits, MinRSABits)
	case bits > MaxRSABits:
		return nil, fieldErrorf("n", "the modulus has %d bits, at most %d are taken", bits, MaxRSABits)
	case modulus.Bit(0) == 0:
		return nil, &FieldError{"n", "the modulus is even, so it is no RSA modulus"}
	}
	// crypto/rsa takes exponents that fit 31 bits. 1 would make every padded message its own signature.
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3 {
		return nil, &FieldError{"e", "the exponent must be odd, at least 3 and below 2^31; AQAB (65537) is usual"}
	}
	public := &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	return func(input, signature []byte) bool {
		digest := sha256.Sum256(input)
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	}, nil
}

func ecKey(x, y []byte) (func(input, signature []byte) bool, *FieldError) {
	for _, c := range []struct {
		field string
		value []byte
	}{{"x", x}, {"y", y}} {
		if len(c.value) != coordinateBytes {
			return nil, fieldErrorf(c.field, "a P-256 coordinate has %d bytes, this has %d", coordinateBytes, len(c.value))
		}
	}
	point := bytes.Join([][]byte{{4}, x, y}, nil)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, &FieldError{"x", "the point (x, y) is not on P-256"}
	}
	return func(input, signature []byte) bool {
		if len(signature) != 2*coordinateBytes {
			return false
		}
		digest := sha256.Sum256(input)
		r := new(big.Int).SetBytes(signature[:coordinateBytes])
		s := new(big.Int).SetBytes(signature[coordinateBytes:])
		return ecdsa.Verify(public, digest[:], r, s)
	}, nil
}

func edKey(x []byte) (func(input, signature []byte) bool, *FieldError) {
	if len(x) != ed25519.PublicKeySize {
		return nil, fieldErrorf("x", "an Ed25519 key has %d bytes, this has %d", ed25519.PublicKeySize, len(x))
	}
	if problem := edwardsProblem(x); problem != "" {
		return nil, &FieldError{"x", problem}
	}
	public := ed25519.PublicKey(x)
	return func(input, signature []byte) bool {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, input, signature)
	}, nil
}

func hmacKey(k []byte) (func(input, signature []byte) bool, *FieldError) {
	switch {
	case len(k) < MinHMACBytes:
		return nil, fieldErrorf("k", "the secret has %d bytes, HS256 needs at least %d", len(k), MinHMACBytes)
	case len(k) > MaxHMACBytes:
		return nil, fieldErrorf("k", "the secret has %d bytes, at most %d are taken", len(k), MaxHMACBytes)
	}
	return func(input, signature []byte) bool {
		mac := hmac.New(sha256.New, k)
		mac.Write(input)
		return hmac.Equal(mac.Sum(nil), signature)
	}, nil
}
