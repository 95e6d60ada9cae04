package istio

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// subscription is what a server knows of one kind of resource on one stream. It decides, without I/O, what a request means
// and whether an answer is due.
type subscription struct {
	// nonce, version and chain are of the latest answer; nonce is empty before the first.
	nonce, version, chain string
	// pending: that answer has not been acknowledged or refused.
	pending bool
}

// answer is what a request turned out to be.
type answer int

const (
	answerNone answer = iota // about no answer that is awaited: ignored
	answerACK
	answerNACK
)

// take reads a request about a kind that was asked for before. The first request for a kind is no business of it: Istio
// sends that with a nonce of its own making.
func (s *subscription) take(req *discoveryv3.DiscoveryRequest) answer {
	if !s.pending || req.GetResponseNonce() != s.nonce {
		return answerNone
	}
	s.pending = false
	if req.GetErrorDetail() != nil {
		return answerNACK
	}
	return answerACK
}

// due says whether a version is to be sent. One that was refused is not sent again: it is the latest that was sent.
func (s *subscription) due(version string) bool {
	return !s.pending && (s.nonce == "" || s.version != version)
}

// sent notes an answer.
func (s *subscription) sent(nonce, version, chain string) {
	*s = subscription{nonce: nonce, version: version, chain: chain, pending: true}
}
