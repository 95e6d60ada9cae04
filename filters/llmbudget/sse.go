package main

import "bytes"

// maxEvent is the most bytes of an event of a stream; a longer one is passed over.
const maxEvent = 256 << 10

// events takes a stream of server-sent events apart (https://html.spec.whatwg.org/multipage/server-sent-events.html). Chunks may end
// anywhere.
type events struct {
	line []byte
	data []byte
	// long: the line or the event is over its bound, and passed over.
	longLine, longEvent bool
	// cr: the last byte was a CR, which an LF may follow.
	cr bool
}

// write takes a chunk, and calls event with the data of each event that is whole, which it must not keep.
func (e *events) write(chunk []byte, event func(data []byte)) {
	for len(chunk) > 0 {
		if e.cr && chunk[0] == '\n' {
			chunk = chunk[1:]
		}
		e.cr = false
		i := bytes.IndexAny(chunk, "\r\n")
		if i < 0 {
			e.add(chunk)
			return
		}
		e.add(chunk[:i])
		e.cr = chunk[i] == '\r'
		chunk = chunk[i+1:]
		e.end(event)
	}
}

func (e *events) add(part []byte) {
	if e.longLine = e.longLine || len(e.line)+len(part) > maxEvent; !e.longLine {
		e.line = append(e.line, part...)
	}
}

// end ends a line. An empty one ends the event.
func (e *events) end(event func(data []byte)) {
	line, long := e.line, e.longLine
	e.line, e.longLine = e.line[:0], false
	switch {
	case long:
		e.longEvent = true
	case len(line) == 0:
		if len(e.data) > 0 && !e.longEvent {
			event(e.data)
		}
		e.data, e.longEvent = e.data[:0], false
	default:
		value, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			return
		}
		value = bytes.TrimPrefix(value, []byte(" "))
		if e.longEvent = e.longEvent || len(e.data)+len(value) > maxEvent; !e.longEvent {
			e.data = append(append(e.data, value...), '\n')
		}
	}
}
