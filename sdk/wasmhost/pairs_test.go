package wasmhost

import (
	"slices"
	"strings"
	"testing"
)

func TestPairs(t *testing.T) {
	one := marshalPairs(Headers{{"a", "1"}, {"", ""}})
	for _, test := range []struct {
		name string
		in   []byte
		want Headers
	}{
		{"two", one, Headers{{"a", "1"}, {"", ""}}},
		{"nothing", nil, nil},
		{"one zero byte", []byte{0}, nil},
		{"no pairs", []byte{0, 0, 0, 0}, Headers{}},
		{"cut off", one[:len(one)-1], nil},
		{"bytes left over", append(slices.Clone(one), 0), nil},
		{"no NUL", []byte("\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00a\x001x"), nil},
		{"a length beyond the end", []byte("\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00a\x001\x00"), nil},
		{"too many", []byte{1, 4, 0, 0}, nil},
		{"too large", make([]byte, MaxPairsBytes+1), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parsePairs(test.in); !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzPairs(f *testing.F) {
	f.Add(marshalPairs(NewHeaders("a", "1", "b", "")))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if hs := parsePairs(b); hs != nil && string(marshalPairs(hs)) != string(b) {
			t.Errorf("%q reads as %q and is written as %q", b, hs, marshalPairs(hs))
		}
	})
}

// TestHeaderMap wants Envoy's order and its joining of inline headers.
func TestHeaderMap(t *testing.T) {
	m := newHeaderMap(NewHeaders("x-a", "1", ":path", "/", "Accept", "a", "accept", "b", "X-A", "2", "cookie", "c", "cookie", "d"), requestMap)
	dump := func() string {
		var parts []string
		for _, h := range m.list {
			parts = append(parts, h.Name+"="+h.Value)
		}
		return strings.Join(parts, " ")
	}
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"made", func() {}, ":path=/ x-a=1 accept=a,b x-a=2 cookie=c cookie=d"},
		{"set", func() { m.set("X-A", "3") }, ":path=/ accept=a,b cookie=c cookie=d x-a=3"},
		{"set a pseudo header", func() { m.add(":method", "GET"); m.set(":path", "/x") }, ":method=GET :path=/x accept=a,b cookie=c cookie=d x-a=3"},
		{"host is :authority", func() { m.set("Host", "h") }, ":method=GET :path=/x :authority=h accept=a,b cookie=c cookie=d x-a=3"},
		{"remove", func() { m.remove("COOKIE") }, ":method=GET :path=/x :authority=h accept=a,b x-a=3"},
		{"put", func() { m.put("accept", "*"); m.put("te", "x") }, ":method=GET :path=/x :authority=h accept=* x-a=3 te=x"},
		{"add nothing", func() { m.add("te", ""); m.add("x-b", "") }, ":method=GET :path=/x :authority=h accept=* x-a=3 te=x x-b="},
	}
	for _, s := range steps {
		s.do()
		if got := dump(); got != s.want {
			t.Errorf("%s: got %s, want %s", s.name, got, s.want)
		}
	}
	if v, ok := m.getBytes([]byte("HOST")); v != "h" || !ok {
		t.Errorf("HOST gives %q, %t", v, ok)
	}
}

// TestWireBody is what the other end reads of a body by its framing.
func TestWireBody(t *testing.T) {
	for _, test := range []struct {
		name    string
		headers Headers
		body    string
		want    string
		ok      bool
	}{
		{"no length", nil, "abc", "abc", true},
		{"the length", NewHeaders("content-length", "3"), "abc", "abc", true},
		{"too short a length", NewHeaders("content-length", "2"), "abc", "ab", true},
		{"too long a length", NewHeaders("content-length", "4"), "abc", "", false},
		{"no number", NewHeaders("content-length", "x"), "abc", "", false},
		{"chunked without a body", NewHeaders("transfer-encoding", "chunked"), "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := wireBody(test.headers, []byte(test.body)); string(got) != test.want || ok != test.ok {
				t.Errorf("got %q, %t", got, ok)
			}
		})
	}
}
