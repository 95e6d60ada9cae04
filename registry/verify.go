package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// verifier passes bytes on and ends with an error unless they are those of want. Until it gave io.EOF, nothing that came
// through it may be used. A size of 0 is one that is not known; limit holds in any case.
type verifier struct {
	op, subject string
	r           io.Reader
	want        Descriptor
	limit       int64
	hash        hash.Hash
	n           int64
}

func newVerifier(op, subject string, r io.Reader, want Descriptor, limit int64) *verifier {
	return &verifier{op: op, subject: subject, r: r, want: want, limit: limit, hash: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.hash.Write(p[:n])
	switch {
	case v.n > v.limit:
		return n, tooLarge(v.op, v.subject, v.limit, v.n)
	case v.want.Size > 0 && v.n > v.want.Size:
		return n, sizeMismatch(v.op, v.subject, v.want.Size, v.n)
	case err == io.EOF && v.want.Size > 0 && v.n != v.want.Size:
		return n, sizeMismatch(v.op, v.subject, v.want.Size, v.n)
	case err == io.EOF && v.want.Digest != "" && v.digest() != v.want.Digest:
		return n, digestMismatch(v.op, v.subject, v.want.Digest, v.digest())
	}
	return n, err
}

func (v *verifier) digest() Digest {
	return Digest(sha256Prefix + hex.EncodeToString(v.hash.Sum(nil)))
}

// readVerified reads bytes into memory and verifies them. contentLength is -1 when it is not known; want.Size and
// want.Digest are not compared when they are zero.
func readVerified(op, subject string, r io.Reader, contentLength int64, want Descriptor, limit int64) ([]byte, error) {
	if contentLength > limit || want.Size > limit {
		return nil, tooLarge(op, subject, limit, max(contentLength, want.Size))
	}
	if contentLength >= 0 && want.Size > 0 && contentLength != want.Size {
		return nil, sizeMismatch(op, subject, want.Size, contentLength)
	}
	return io.ReadAll(newVerifier(op, subject, r, want, limit))
}

// wasmMagic begins a core Wasm module: the magic number and version 1.
// https://webassembly.github.io/spec/core/binary/modules.html#binary-module
const wasmMagic = "\x00asm\x01\x00\x00\x00"

// checkMagic refuses what is not a core Wasm module. head is the first bytes, at most as many as wasmMagic has.
func checkMagic(op, subject string, head []byte) error {
	if string(head) == wasmMagic {
		return nil
	}
	e := &Error{Op: op, Subject: subject, Kind: ErrInvalidModule, Next: "give a .wasm file that `waft check` accepts"}
	switch {
	case len(head) < len(wasmMagic):
		e.Detail = fmt.Sprintf("%d bytes are too few for a Wasm module", len(head))
	case string(head[:4]) == wasmMagic[:4] && head[6] == 1:
		e.Detail, e.Next = "it is a Wasm component, which Envoy does not load", "compile it to a core module: for Rust the target wasm32-wasip1"
	default:
		e.Detail = fmt.Sprintf("it begins with %q, not with the Wasm magic number", head)
	}
	return e
}
