package build

import "errors"

// reader reads the binary format. After an error, which it keeps, it gives zeros and nothing.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// finish is the first error, or that something is left.
func (r *reader) finish() error {
	if r.err == nil && len(r.rest) > 0 {
		return errors.New("bytes behind its end")
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail(errTruncated)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.fail(errTruncated)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u32() uint32 {
	v, n, err := readU32(r.rest)
	if err != nil {
		r.fail(err)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// leb passes over a number of at most 64 bits, signed or not.
func (r *reader) leb() {
	const longest = 10
	for range longest {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(errors.New("a number takes more than 64 bits"))
}

// signed reads a signed LEB128 of at most 32 bits.
func (r *reader) signed() int64 {
	var v int64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			return v << (57 - shift) >> (57 - shift)
		}
	}
	r.fail(errors.New("a number takes more than 32 bits"))
	return 0
}

func (r *reader) name() string { return string(r.bytes(int(r.u32()))) }

// limits passes over the limits of a memory or a table.
func (r *reader) limits() {
	flags := r.byte()
	r.leb()
	if flags&limitsHasMax != 0 {
		r.leb()
	}
}

// readList reads a vector: its length, then its items, each of at least one byte.
func readList[T any](r *reader, most uint32, item func(*reader) T) []T {
	n := r.u32()
	if n > most || int(n) > len(r.rest) {
		r.fail(errTruncated)
		return nil
	}
	out := make([]T, 0, n)
	for range n {
		out = append(out, item(r))
		if r.err != nil {
			return nil
		}
	}
	return out
}
