package main

import (
	"mime"
	"strings"
)

// maxBody is the most bytes of a response that is no stream; the tokens of a longer one are estimated.
const maxBody = 4 << 20

// reader reads a response on its way. The zero reader estimates by the bytes of the body.
type reader struct {
	kind   kind
	events events
	body   []byte
	bytes  int64 // of the body
	text   int64 // of the answer's text, as far as it could be read
	said   bool
	tokens usage // what the service said
}

type kind uint8

const (
	kindOther kind = iota
	kindJSON
	kindStream
)

// kindOf is how a response is read.
func kindOf(contentType, encoding string) kind {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil || encoding != "" && !strings.EqualFold(encoding, "identity"):
		return kindOther
	case media == "text/event-stream":
		return kindStream
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return kindJSON
	}
	return kindOther
}

// write takes a chunk of the body.
func (r *reader) write(chunk []byte) {
	r.bytes += int64(len(chunk))
	switch r.kind {
	case kindStream:
		r.events.write(chunk, r.event)
	case kindJSON:
		if len(r.body)+len(chunk) > maxBody {
			r.kind, r.body = kindOther, nil
			return
		}
		r.body = append(r.body, chunk...)
	}
}

// event reads an event of a stream. Services say the usage in the last ones; some say it in each, added up.
func (r *reader) event(data []byte) {
	tokens, said, text := read(data)
	if r.text += text; said {
		r.said = true
		r.tokens = usage{max(r.tokens.prompt, tokens.prompt), max(r.tokens.completion, tokens.completion)}
	}
}

// result is how many tokens a response used, and whether that is an estimate, by the bytes of the request and of the answer's text.
func (r *reader) result(requestBytes int64, bytesPerToken float64) (_ usage, estimated bool) {
	if r.kind == kindJSON {
		r.event(r.body)
		r.body = nil
	}
	if r.said {
		return r.tokens, false
	}
	text := r.text
	if r.kind == kindOther {
		text = r.bytes
	}
	return usage{int64(float64(requestBytes) / bytesPerToken), int64(float64(text) / bytesPerToken)}, true
}
