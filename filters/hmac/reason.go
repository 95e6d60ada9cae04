package main

import "github.com/waft-project/waft/sdk"

// reason says why a request is denied: a tag of the counter hmac.denied, and a part of the response code details.
type reason string

const (
	// reasonNoSignature: there is none, or not the one with the label that counts.
	reasonNoSignature reason = "no_signature"
	// reasonManySignatures: there are several, and no label says which one counts.
	reasonManySignatures reason = "many_signatures"
	// reasonMalformed: Signature-Input, Signature or Content-Digest cannot be read.
	reasonMalformed reason = "malformed"
	// reasonUnsupported: another algorithm, or a component that this filter does not know.
	reasonUnsupported reason = "unsupported"
	// reasonUnknownKey: keyid names no key.
	reasonUnknownKey reason = "unknown_key"
	// reasonUntimed: created is missing, or expires where it is needed.
	reasonUntimed reason = "untimed"
	// reasonEarly: it was created in the future.
	reasonEarly reason = "early"
	// reasonLate: it is too old.
	reasonLate reason = "late"
	// reasonAbsent: a header is signed that is not there.
	reasonAbsent reason = "absent"
	// reasonBadSignature: it is wrong.
	reasonBadSignature reason = "bad_signature"
	// reasonUncovered: the signature is good, and does not cover what it must.
	reasonUncovered reason = "uncovered"
	// reasonDigest: Content-Digest has no sha-256, or the body is another one.
	reasonDigest reason = "digest"
	// reasonReplay: the signature was used before.
	reasonReplay reason = "replay"
	// reasonClient: the signature is good, but its client is not let in here.
	reasonClient reason = "client"
	// reasonFull: no more signatures can be remembered.
	reasonFull reason = "full"
)

func reasons() []reason {
	return []reason{
		reasonNoSignature, reasonManySignatures, reasonMalformed, reasonUnsupported, reasonUnknownKey, reasonUntimed, reasonEarly, reasonLate,
		reasonAbsent, reasonBadSignature, reasonUncovered, reasonDigest, reasonReplay, reasonClient, reasonFull,
	}
}

func (x *exchange) deny(r *sdk.Request, why reason) sdk.Action {
	x.denied[why].Inc()
	reply := sdk.Reply{
		Status: 401, Body: []byte("a valid signature is needed\n"), Details: "hmac_" + string(why),
		Headers: []sdk.Header{{Name: "cache-control", Value: "no-store"}},
	}
	switch why {
	case reasonClient:
		reply.Status, reply.Body = 403, []byte("the signature does not grant access\n")
	case reasonFull:
		reply.Status, reply.Body = 503, []byte("too many signed requests\n")
	default:
		reply.Headers = append(reply.Headers, sdk.Header{Name: "www-authenticate", Value: "Signature"})
	}
	return r.Reply(reply)
}
