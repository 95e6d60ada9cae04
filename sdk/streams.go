package sdk

// directStreams is how many streams can have a place of their own in a [streamTable]. It is a power of two.
const directStreams = 256

// streamTable finds the open streams by the ids of their contexts. Hosts count contexts up, so those that are open at one time
// mostly differ in the last bits of their ids, by which each has a place in an array; those whose place is taken are in a map. A map
// alone costs a request more than all else here.
type streamTable struct {
	direct [directStreams]*Stream
	others map[uint32]*Stream
	open   int
}

// get is the stream of a context, nil when there is none.
func (t *streamTable) get(id uint32) *Stream {
	if s := t.direct[id%directStreams]; s != nil && s.id == id {
		return s
	}
	if len(t.others) == 0 {
		return nil
	}
	return t.others[id]
}

// put adds a stream, in the place of one with the same id where a host makes a context twice.
func (t *streamTable) put(s *Stream) {
	if place := &t.direct[s.id%directStreams]; *place == nil && len(t.others) == 0 {
		t.open++
		*place = s
		return
	}
	t.putBeside(s)
}

// putBeside is [streamTable.put] where other streams are in the way, or could be.
func (t *streamTable) putBeside(s *Stream) {
	if old := t.get(s.id); old != nil {
		t.remove(old)
	}
	t.open++
	if place := &t.direct[s.id%directStreams]; *place == nil {
		*place = s
		return
	}
	if t.others == nil {
		t.others = map[uint32]*Stream{}
	}
	t.others[s.id] = s
}

// remove takes out a stream that is there.
func (t *streamTable) remove(s *Stream) {
	t.open--
	if place := &t.direct[s.id%directStreams]; *place == s {
		*place = nil
		return
	}
	delete(t.others, s.id)
}
