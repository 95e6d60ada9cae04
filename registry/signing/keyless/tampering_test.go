package keyless_test

import (
	"encoding/base64"
	"strings"
)

// tampering is a change to a bundle that was made with a certificate. Each must be refused.
type tampering struct {
	name, repository string
	change           func(bundle map[string]any)
}

var tamperings = []tampering{
	{"no timestamp", "time", func(b map[string]any) { delete(material(b), "timestampVerificationData") }},
	{"no entry in the log", "log", func(b map[string]any) { delete(material(b), "tlogEntries") }},
	{"no certificate", "certificate", func(b map[string]any) { delete(material(b), "certificate") }},
	{"the statement changed", "statement", func(b map[string]any) {
		b["dsseEnvelope"].(map[string]any)["payload"] = change(b["dsseEnvelope"].(map[string]any)["payload"], func(data []byte) []byte {
			return []byte(strings.Replace(string(data), `"predicate":{}`, `"predicate":{"a":1}`, 1))
		})
	}},
	{"the signature changed", "signature", func(b map[string]any) {
		sig := b["dsseEnvelope"].(map[string]any)["signatures"].([]any)[0].(map[string]any)
		sig["sig"] = change(sig["sig"], flipLast)
	}},
	{"the certificate changed", "signed", func(b map[string]any) {
		c := material(b)["certificate"].(map[string]any)
		c["rawBytes"] = change(c["rawBytes"], flipLast)
	}},
	{"the log's body changed", "body", func(b map[string]any) {
		entry := material(b)["tlogEntries"].([]any)[0].(map[string]any)
		entry["canonicalizedBody"] = change(entry["canonicalizedBody"], flipLast)
	}},
	{"the log's checkpoint changed", "checkpoint", func(b map[string]any) {
		entry := material(b)["tlogEntries"].([]any)[0].(map[string]any)
		checkpoint := entry["inclusionProof"].(map[string]any)["checkpoint"].(map[string]any)
		lines := strings.Split(checkpoint["envelope"].(string), "\n")
		lines[2] = change(lines[2], flipLast) // the root of the tree
		checkpoint["envelope"] = strings.Join(lines, "\n")
	}},
	{"the log's proof changed", "proof", func(b map[string]any) {
		entry := material(b)["tlogEntries"].([]any)[0].(map[string]any)
		entry["inclusionProof"].(map[string]any)["hashes"] = []any{base64.StdEncoding.EncodeToString(make([]byte, 32))}
	}},
	{"the timestamp changed", "stamp", func(b map[string]any) {
		stamp := material(b)["timestampVerificationData"].(map[string]any)["rfc3161Timestamps"].([]any)[0].(map[string]any)
		stamp["signedTimestamp"] = change(stamp["signedTimestamp"], flipLast)
	}},
}

func material(b map[string]any) map[string]any { return b["verificationMaterial"].(map[string]any) }

// change decodes base64, changes it, and encodes it again.
func change(text any, by func([]byte) []byte) string {
	data, err := base64.StdEncoding.DecodeString(text.(string))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(by(data))
}

func flipLast(data []byte) []byte {
	data[len(data)-1] ^= 1
	return data
}
