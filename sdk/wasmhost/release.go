package wasmhost

// keptStreams is how many released streams a VM keeps for those to come.
const keptStreams = 16

// Release gives the memory of a closed stream to streams of its VM that are yet to come, for whom sends very many: making that memory, and
// collecting it, is a third of what the host takes for a request. Nothing of the stream may be used any more, nor what Upstream and
// Downstream gave. A stream that is open, or that is closed from within one of its callbacks, stays as it is.
func (s *Stream) Release() {
	v := s.vm
	if !s.closed || s.released || v.in.current != nil || len(v.in.after) > 0 || len(v.released) == keptStreams {
		return
	}
	*s = Stream{vm: v, closed: true, released: true}
	v.released = append(v.released, s)
}

// emptyStream is a stream of which nothing is set.
func (v *VM) emptyStream() *Stream {
	n := len(v.released)
	if n == 0 {
		return new(Stream)
	}
	s := v.released[n-1]
	v.released = v.released[:n-1]
	s.closed, s.released, s.vm = false, false, nil
	return s
}
