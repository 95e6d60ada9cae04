package sdk

import (
	"iter"
	"strconv"
	"unsafe"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Header is a name and a value. Names are lower case in Envoy; values are bytes, not necessarily UTF-8.
type Header = abi.Pair

// Headers are the headers, or the trailers, of a message. They live in the host: a first read asks for that one header, a
// second one fetches them all, once for the event. Names are matched without regard to case.
//
// Envoy lets a filter see headers in the event that brings them and in OnStreamDone, and nowhere else. [Headers.Keep] keeps
// them readable in the events between. Where they cannot be read, they look empty.
type Headers struct {
	stream *Stream
	kind   abi.MapType
	what   string

	reads  uint8
	cached bool
	keep   bool
	kept   bool
	pairs  []Header
}

// Get is the first value of a header. It is false when the header is absent, and when the headers cannot be read in this
// event. A header that is there more than once gives its first value only; where the others matter, use [Headers.Values].
func (h *Headers) Get(name string) (string, bool) {
	if !h.stream.own() {
		return "", false
	}
	if !h.cached && h.reads > 0 {
		h.fetch()
	}
	if !h.cached {
		h.reads++
		h.stream.touched = true
		value, status := h.stream.host.HeaderValue(h.kind, name)
		return value, status == abi.OK
	}
	for i := range h.pairs {
		if equalName(h.pairs[i].Name, name) {
			return h.pairs[i].Value, true
		}
	}
	return "", false
}

// Values are all values of a header in the order in which they came, nil when it is absent. A value that is a list with
// commas is one value.
func (h *Headers) Values(name string) []string {
	var values []string
	for n, v := range h.All() {
		if equalName(n, name) {
			values = append(values, v)
		}
	}
	return values
}

// All goes over all headers, pseudo-headers first, in the order in which they came. Changing headers inside the loop does not
// change what the loop sees.
func (h *Headers) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if h.read() != nil {
			return
		}
		for _, p := range h.pairs {
			if !yield(p.Name, p.Value) {
				return
			}
		}
	}
}

// Pairs are all headers, as [Headers.All] gives them, or why they cannot be read. The slice is the caller's.
func (h *Headers) Pairs() ([]Header, error) {
	if err := h.read(); err != nil {
		return nil, err
	}
	return append([]Header(nil), h.pairs...), nil
}

// Peek are all headers, as [Headers.Pairs] gives them, where the host put them: it allocates nothing, so it leaves no work for the collector
// behind. The slice and its strings are valid until the next call of the sdk that the filter makes, since the next answer of the host comes to
// the same place: copy what is to be kept, with strings.Clone.
func (h *Headers) Peek() ([]Header, error) {
	v := h.stream.vm
	if !h.stream.own() {
		return nil, h.foreign("read all of ", "")
	}
	if h.cached {
		return h.pairs, nil
	}
	data, status := h.stream.host.HeaderPairs(h.kind)
	if status != abi.OK {
		return nil, hostError(status, "read all of "+h.what+"s", "")
	}
	pairs, err := abi.ParsePairs(v.peeked[:0], unsafe.String(unsafe.SliceData(data), len(data)))
	if err != nil {
		return nil, &HostError{Call: "read all of " + h.what + "s", Status: abi.ParseFailure}
	}
	v.peeked = pairs
	return pairs, nil
}

// Keep keeps the headers readable for the rest of the stream, as they are when the event that brought them is over. It is
// called in OnRequestHeaders or OnResponseHeaders, and costs one read of all of them.
func (h *Headers) Keep() {
	h.keep = true
	h.stream.touched = true
}

// Set gives a header this one value in place of all that it had. A name that is no HTTP token (with a colon before it for a
// pseudo-header), and a value with CR, LF or NUL, are refused with [ErrBadArgument]: Envoy would take them.
func (h *Headers) Set(name, value string) error {
	if s := h.stream; !s.own() || !(known(&s.vm.sound.names, name) && known(&s.vm.sound.values, value)) && !s.vm.inspect(name, value) {
		return h.refusal("set ", name, value)
	}
	h.forget()
	return h.fail(h.stream.host.ReplaceHeader(h.kind, name, value), "set ", name)
}

// Add adds a value to those that a header has. It refuses what [Headers.Set] refuses.
func (h *Headers) Add(name, value string) error {
	if s := h.stream; !s.own() || !(known(&s.vm.sound.names, name) && known(&s.vm.sound.values, value)) && !s.vm.inspect(name, value) {
		return h.refusal("add ", name, value)
	}
	h.forget()
	return h.fail(h.stream.host.AddHeader(h.kind, name, value), "add ", name)
}

// Remove takes a header away with all its values. That it was not there is no error.
func (h *Headers) Remove(name string) error {
	if !h.stream.own() {
		return h.foreign("remove ", name)
	}
	h.forget()
	status := h.stream.host.RemoveHeader(h.kind, name)
	if status == abi.NotFound {
		return nil
	}
	return h.fail(status, "remove ", name)
}

// value is the first value, empty when there is none.
func (h *Headers) value(name string) string {
	v, _ := h.Get(name)
	return v
}

// Replace puts these in the place of all headers, pseudo-headers too, which come first. It is one host call, where many
// changes would be one each. It refuses what [Headers.Set] refuses, and then changes nothing.
func (h *Headers) Replace(headers []Header) error {
	if !h.stream.own() {
		return h.foreign("replace all of ", "")
	}
	for _, p := range headers {
		if headerFault(p.Name, p.Value) != "" {
			return h.refusal("replace all by ", p.Name, p.Value)
		}
	}
	h.forget()
	return h.fail(h.stream.host.SetHeaderPairs(h.kind, abi.AppendPairs(make([]byte, 0, abi.PairsSize(headers)), headers)), "replace all of ", "")
}

// Size is the number of bytes of all names and values. It is 0 where they cannot be read.
func (h *Headers) Size() (int, error) {
	if !h.stream.own() {
		return 0, h.foreign("size of ", "")
	}
	size, status := h.stream.host.HeaderMapSize(h.kind)
	return size, h.fail(status, "size of ", "")
}

// refusal is why a header cannot be changed so.
func (h *Headers) refusal(verb, name, value string) error {
	if !h.stream.own() {
		return h.foreign(verb, name)
	}
	return wrap(verb+h.what+" "+strconv.Quote(name)+": "+headerFault(name, value), ErrBadArgument)
}

// foreign is the error of a use outside of the stream's own callbacks.
func (h *Headers) foreign(verb, name string) error {
	return wrap(verb+h.what+" "+strconv.Quote(name), ErrOtherStream)
}

func (h *Headers) fail(status abi.Status, verb, name string) error {
	if status == abi.OK {
		return nil
	}
	return hostError(status, verb+h.what, name)
}

// read makes sure that the whole map is there.
func (h *Headers) read() error {
	if !h.stream.own() {
		return h.foreign("read all of ", "")
	}
	if h.cached {
		return nil
	}
	return h.fetch()
}

// fetch reads the whole map. The names and values share one string, so that it costs one allocation.
func (h *Headers) fetch() error {
	data, status := h.stream.host.HeaderPairs(h.kind)
	if status != abi.OK {
		return hostError(status, "read all of "+h.what+"s", "")
	}
	pairs, err := abi.ParsePairs(h.pairs[:0], string(data))
	if err != nil {
		return &HostError{Call: "read all of " + h.what + "s", Status: abi.ParseFailure}
	}
	h.pairs, h.cached, h.stream.touched = pairs, true, true
	return nil
}

// forget drops what was read, because a write changes it. A loop over All may still read the old slice, so the next fetch
// gets a fresh one.
func (h *Headers) forget() {
	if h.stream.touched {
		h.pairs, h.cached, h.reads = nil, false, 0
	}
}

// renew drops what was read at the start of an event, since other filters ran in between. Where no loop can be under way the
// slice is used again; it is cleared so that it pins no old memory. Kept headers stay.
func (h *Headers) renew(looped bool) {
	if !h.cached && h.reads == 0 {
		return
	}
	switch {
	case h.kept:
	case looped:
		h.forget()
	default:
		h.drop()
	}
}

func (h *Headers) drop() {
	clear(h.pairs)
	h.pairs, h.cached, h.reads = h.pairs[:0], false, 0
}

// settle is called when the event that brought the headers is over: it takes the copy that Keep asked for.
func (h *Headers) settle() {
	if h.keep && (h.cached || h.fetch() == nil) {
		h.kept = true
	}
}

// release drops what Keep kept: the host has the headers again, or the stream has ended.
func (h *Headers) release() {
	if h.cached || h.reads > 0 || h.keep {
		h.keep, h.kept = false, false
		h.drop()
	}
}

func (h *Headers) bind(s *Stream, kind abi.MapType, what string) {
	h.stream, h.kind, h.what = s, kind, what
}

// headerFault says why a header cannot be sent, and nothing when it can. An author's mistake, or a client's bytes in a
// template, must not become a second header.
func headerFault(name, value string) string {
	token := name
	if len(token) > 0 && token[0] == ':' {
		token = token[1:]
	}
	if token == "" {
		return "the name is empty"
	}
	for i := range len(token) {
		if !isTokenByte(token[i]) {
			return "the name is not an HTTP token"
		}
	}
	for i := range len(value) {
		if c := value[i]; c <= '\r' && (c == 0 || c == '\r' || c == '\n') {
			return "the value holds CR, LF or NUL"
		}
	}
	return ""
}

// isTokenByte reports whether c may stand in a token (RFC 9110, section 5.6.2).
func isTokenByte(c byte) bool { return tokenBytes[c/32]>>(c%32)&1 != 0 }

// tokenBytes has a bit for each byte that may stand in a token: letters, digits and !#$%&'*+-.^_`|~
var tokenBytes = [8]uint32{
	1: 1<<('!'-32) | 1<<('#'-32) | 1<<('$'-32) | 1<<('%'-32) | 1<<('&'-32) | 1<<('\''-32) | 1<<('*'-32) | 1<<('+'-32) |
		1<<('-'-32) | 1<<('.'-32) | 0x3ff<<('0'-32),
	2: 0x3ffffff<<('A'-64) | 1<<('^'-64) | 1<<('_'-64),
	3: 1<<('`'-96) | 0x3ffffff<<('a'-96) | 1<<('|'-96) | 1<<('~'-96),
}

// equalName compares header names in ASCII without regard to case.
func equalName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
