package sdk

import "unsafe"

// dispatch is how the handlers of one type take the events that nearly every request has. To ask a value for an interface costs as
// much as the rest of an event, so each type is asked once, and its answer kept.
type dispatch struct {
	// of is the type.
	of unsafe.Pointer
	// The tables of methods of the interfaces that the type implements, nil for the others.
	requestHeaders, awaitingRequestHeaders, responseHeaders, awaitingResponseHeaders unsafe.Pointer
}

// words are the two words of an interface value: its type, or table of methods, and its data. (The gc toolchain, which is the one that
// filters are built with: runtime.eface and runtime.iface.)
type words struct{ table, data unsafe.Pointer }

// typeOf is the type word of a handler.
func typeOf(h *Handler) unsafe.Pointer { return (*words)(unsafe.Pointer(h)).table }

// newDispatch asks a handler for all interfaces.
func newDispatch(h Handler) *dispatch {
	d := &dispatch{of: typeOf(&h)}
	if i, ok := h.(RequestHeadersHandler); ok {
		d.requestHeaders = (*words)(unsafe.Pointer(&i)).table
	}
	if i, ok := h.(AwaitingRequestHeadersHandler); ok {
		d.awaitingRequestHeaders = (*words)(unsafe.Pointer(&i)).table
	}
	if i, ok := h.(ResponseHeadersHandler); ok {
		d.responseHeaders = (*words)(unsafe.Pointer(&i)).table
	}
	if i, ok := h.(AwaitingResponseHeadersHandler); ok {
		d.awaitingResponseHeaders = (*words)(unsafe.Pointer(&i)).table
	}
	return d
}

// as makes the interface value of a handler whose type has that table of methods. I is the interface of the table.
func as[I any](h *Handler, table unsafe.Pointer) (i I) {
	*(*words)(unsafe.Pointer(&i)) = words{table, (*words)(unsafe.Pointer(h)).data}
	return i
}

// handle makes h the handler of the stream.
func (s *Stream) handle(h Handler) {
	s.handler = h
	if d := s.vm.dispatch; d == nil || d.of != typeOf(&s.handler) {
		s.vm.dispatch = s.vm.dispatchOf(h, typeOf(&s.handler))
	}
	s.dispatch = s.vm.dispatch
}

// dispatchOf is how handlers of a type take events; a filter has few types of them.
func (v *vm) dispatchOf(h Handler, of unsafe.Pointer) *dispatch {
	for _, d := range v.dispatches {
		if d.of == of {
			return d
		}
	}
	d := newDispatch(h)
	v.dispatches = append(v.dispatches, d)
	return d
}
