package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// secret is the test-shared-secret of RFC 9421, appendix B.1.5.
const secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="

// digestOf is a Content-Digest.
func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// macOf is the signature of a base.
func macOf(base string) string {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		panic(err)
	}
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(hash.Sum(nil))
}

// signedRequest is a request as a client signs it. components are lines of the base without the last one, such as
// `"@method": GET`; parameters stand behind the list.
func signedRequest(r sdktest.Request, parameters string, components ...string) sdktest.Request {
	var names []string
	for _, c := range components {
		name, _, _ := strings.Cut(c, ": ")
		names = append(names, name)
	}
	input := "(" + strings.Join(names, " ") + ")" + parameters
	base := strings.Join(components, "\n") + "\n" + `"@signature-params": ` + input
	r.Headers = append(append([]sdk.Header{}, r.Headers...),
		sdk.Header{Name: "signature-input", Value: "sig1=" + input}, sdk.Header{Name: "signature", Value: "sig1=:" + macOf(base) + ":"})
	return r
}
