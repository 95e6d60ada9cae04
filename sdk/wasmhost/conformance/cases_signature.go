package conformance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// signingKeys are keys of each kind, made anew in each run.
type signingKeys struct {
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	edwards ed25519.PrivateKey
}

var keys = sync.OnceValue(func() signingKeys {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err1 != nil || err2 != nil || err3 != nil {
		panic("conformance: no keys can be made") // the system has no random numbers
	}
	return signingKeys{r, e, d}
})

// message is a protobuf message whose fields are strings or bytes; an empty one is left out.
func message(values map[protowire.Number]string) string {
	var b []byte
	for n := protowire.Number(1); n <= 5; n++ {
		if values[n] != "" {
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), values[n])
		}
	}
	return string(b)
}

func publicDER(key any) string {
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic("conformance: " + err.Error()) // a kind of key that does not exist
	}
	return string(b)
}

func privateDER(key any) string {
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("conformance: " + err.Error())
	}
	return string(b)
}

func inPEM(kind, der string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(der)}))
}

// signatureCases are about the foreign functions verify_signature and sign.
func signatureCases() []testCase {
	const text = "what was signed"
	k := keys()
	sum256, sum512 := sha256.Sum256([]byte(text)), sha512.Sum512([]byte(text))
	bySHA256, err1 := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, sum256[:])
	bySHA512, err2 := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA512, sum512[:])
	byEC, err3 := ecdsa.SignASN1(rand.Reader, k.ec, sum256[:])
	if err1 != nil || err2 != nil || err3 != nil {
		panic("conformance: the keys cannot sign") // they were made for it
	}
	rsaKey, ecKey, edwardsKey := publicDER(&k.rsa.PublicKey), publicDER(&k.ec.PublicKey), publicDER(k.edwards.Public())

	// The arguments of verify_signature: hash, key in DER, signature, text, key in PEM.
	verify := func(hash, der, signature, text, pem string) statement {
		return call("call_foreign_function", "verify_signature", message(map[protowire.Number]string{1: hash, 2: der, 3: signature, 4: text, 5: pem}), bytesOut)
	}
	// The arguments of sign: hash, key in DER, text, key in PEM.
	sign := func(hash, der, text, pem string, result out) statement {
		return call("call_foreign_function", "sign", message(map[protowire.Number]string{1: hash, 2: der, 3: text, 4: pem}), result)
	}
	headers := func(name string, statements ...statement) testCase {
		return testCase{name: name, guest: quiet(on("on_request_headers", statements...)), steps: []step{get(), answer()}}
	}
	return []testCase{
		headers("foreign/verify_signature",
			verify("sha256", rsaKey, string(bySHA256), text, ""),
			verify("SHA512", rsaKey, string(bySHA512), text, ""),
			verify("sha256", ecKey, string(byEC), text, ""),
			verify("sha256", rsaKey, string(bySHA256), text+".", ""),
			verify("sha512", rsaKey, string(bySHA256), text, ""),
			verify("sha256", ecKey, string(bySHA256), text, ""),
			verify("sha256", rsaKey, "", text, ""),
			verify("sha256", rsaKey, string(bySHA256), "", ""),
			verify("md5", rsaKey, string(bySHA256), text, ""),
			verify("", rsaKey, string(bySHA256), text, ""),
			verify("sha256", edwardsKey, string(bySHA256), text, ""),
		),
		headers("foreign/verify_signature with odd keys",
			verify("sha256", "", string(bySHA256), text, ""),
			verify("md5", "", string(bySHA256), text, ""),
			verify("sha256", "no key", string(bySHA256), text, ""),
			verify("md5", "no key", string(bySHA256), text, ""),
			verify("sha256", rsaKey+"more", string(bySHA256), text, ""),
			verify("sha256", rsaKey[:40], string(bySHA256), text, ""),
			verify("sha256", "", string(bySHA256), text, inPEM("PUBLIC KEY", rsaKey)),
			verify("sha256", "", string(byEC), text, inPEM("PUBLIC KEY", ecKey)),
			verify("sha256", rsaKey, string(bySHA256), text, inPEM("PUBLIC KEY", rsaKey)),
			verify("sha256", "", string(bySHA256), text, inPEM("CERTIFICATE", rsaKey)),
			verify("sha256", "", string(bySHA256), text, inPEM("CERTIFICATE", rsaKey)+inPEM("PUBLIC KEY", rsaKey)),
			verify("sha256", "", string(bySHA256), text, "no key"),
			call("call_foreign_function", "verify_signature", "", bytesOut),
			call("call_foreign_function", "verify_signature", "\xff\xff\xff", bytesOut),
			call("call_foreign_function", "verify_signature", message(map[protowire.Number]string{1: "\xff", 2: rsaKey}), bytesOut),
			call("call_foreign_function", "verify_signature", bad{}, bytesOut),
		),
		headers("foreign/sign",
			sign("sha256", privateDER(k.rsa), text, "", bytesOut),
			sign("Sha1", privateDER(k.rsa), "", "", bytesOut),
			sign("sha224", "", text, inPEM("PRIVATE KEY", privateDER(k.rsa)), bytesOut),
			sign("sha384", "", text, inPEM("RSA PRIVATE KEY", string(x509.MarshalPKCS1PrivateKey(k.rsa))), bytesOut),
			sign("sha256", privateDER(k.ec), text, "", mutedBytes),
			sign("sha256", privateDER(k.edwards), text, "", bytesOut),
			sign("md5", privateDER(k.rsa), text, "", bytesOut),
			sign("sha256", "", text, "", bytesOut),
			sign("sha256", "no key", text, "", bytesOut),
			sign("md5", "no key", text, "", bytesOut),
			sign("sha256", privateDER(k.rsa)+"more", text, "", bytesOut),
			sign("sha256", string(x509.MarshalPKCS1PrivateKey(k.rsa)), text, "", bytesOut),
			sign("sha256", privateDER(k.rsa), text, inPEM("PRIVATE KEY", privateDER(k.rsa)), bytesOut),
			sign("sha256", "", text, "no key", bytesOut),
			call("call_foreign_function", "sign", "\xff\xff\xff", bytesOut),
		),
	}
}
