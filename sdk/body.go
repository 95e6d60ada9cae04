package sdk

import (
	"math"
	"slices"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Body is a chunk of a message's body, or the whole of it for the handlers that buffer. It is valid during the call that it
// was given to.
//
// A filter that changes the length of a body takes the header content-length away in OnRequestHeaders or OnResponseHeaders,
// since the headers are gone when the body comes.
type Body struct {
	stream *Stream
	kind   abi.BufferType
	size   int
	end    bool
	// from is where the bytes begin in the host's buffer, and shared says that others may stand behind them; see [inflow].
	from   int
	shared bool
}

// Len is the number of bytes.
func (b *Body) Len() int { return b.size }

// End reports whether this is the last chunk. It is false on the last one too when trailers follow; a buffered body is
// always at its end.
func (b *Body) End() bool { return b.end }

// Bytes is a copy of the bytes, which is the caller's; nil when there are none.
func (b *Body) Bytes() ([]byte, error) {
	if !b.stream.own() {
		return nil, wrap("read "+b.what(), ErrOtherStream)
	}
	if b.size == 0 {
		return nil, nil
	}
	data, status := b.stream.host.GetBuffer(b.kind, b.from, b.size)
	if status != abi.OK {
		return nil, hostError(status, "read", b.what())
	}
	return append([]byte(nil), data...), nil
}

// Replace puts data in the place of all bytes. Empty data takes them away.
func (b *Body) Replace(data []byte) error {
	if b.shared {
		return b.rewrite(data)
	}
	return b.set(0, b.size, data, len(data))
}

// Prepend puts data before the bytes.
func (b *Body) Prepend(data []byte) error {
	if b.shared {
		return b.joined(data, nil)
	}
	return b.set(0, 0, data, b.size+len(data))
}

// Append puts data behind the bytes.
func (b *Body) Append(data []byte) error {
	if b.shared {
		return b.joined(nil, data)
	}
	return b.set(math.MaxInt32, 0, data, b.size+len(data))
}

func (b *Body) set(start, length int, data []byte, size int) error {
	if !b.stream.own() {
		return wrap("write "+b.what(), ErrOtherStream)
	}
	if status := b.stream.host.SetBuffer(b.kind, start, length, data); status != abi.OK {
		return hostError(status, "write", b.what())
	}
	b.size = size
	return nil
}

// joined puts data before and behind the bytes of a shared buffer.
func (b *Body) joined(before, behind []byte) error {
	old, err := b.Bytes()
	if err != nil {
		return err
	}
	return b.rewrite(slices.Concat(before, old, behind))
}

// rewrite puts data in the place of the bytes in a shared buffer. Hosts replace bytes at the beginning of a buffer only, so what stands before
// them is written again.
func (b *Body) rewrite(data []byte) error {
	whole := data
	if b.from > 0 {
		before := Body{stream: b.stream, kind: b.kind, size: b.from}
		let, err := before.Bytes()
		if err != nil {
			return err
		}
		whole = append(let, data...)
	}
	return b.set(0, b.from+b.size, whole, len(data))
}

func (b *Body) what() string {
	switch b.kind {
	case abi.RequestBody:
		return "request body"
	case abi.DownstreamData:
		return "downstream data"
	case abi.UpstreamData:
		return "upstream data"
	}
	return "response body"
}

// chunk is the body of an event.
func (r *Request) chunk(kind abi.BufferType, size int, end bool) *Body {
	r.body = Body{stream: r.stream, kind: kind, size: size, end: end}
	return &r.body
}

// chunk is the body of an event.
func (r *Response) chunk(kind abi.BufferType, size int, end bool) *Body {
	r.body = Body{stream: r.stream, kind: kind, size: size, end: end}
	return &r.body
}

// heldBody is a body that the host holds while trailers arrive.
func (r *Request) heldBody(kind abi.BufferType) (*Body, error) {
	return r.chunk(kind, 0, true).measured()
}

// heldBody is a body that the host holds while trailers arrive.
func (r *Response) heldBody(kind abi.BufferType) (*Body, error) {
	return r.chunk(kind, 0, true).measured()
}

// measured asks the host for the size.
func (b *Body) measured() (*Body, error) {
	size, status := b.stream.host.BufferSize(b.kind)
	b.size = size
	return b, hostError(status, "size of", b.what())
}
