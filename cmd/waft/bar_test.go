package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Where nothing can be drawn there is a line now and then, and none of a transfer that is soon done.
func TestBarInPlainLines(t *testing.T) {
	var out bytes.Buffer
	at := time.Unix(0, 0)
	b := newBar(&out, "push authz\x1b[2J.wasm")
	b.now = func() time.Time { return at }
	b.last = at
	for second := range 13 {
		at = time.Unix(int64(second), 0)
		b.progress(int64(second)*1e6, 20e6)
	}
	b.progress(20e6, 20e6)
	b.done()
	want := "push authz\\x1b[2J.wasm  5.0 of 20.0 MB  25%\npush authz\\x1b[2J.wasm  10.0 of 20.0 MB  50%\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestBarLine(t *testing.T) {
	for _, tc := range []struct {
		title       string
		done, total int64
		columns     int
		want        string
	}{
		{"pull x", 1e6, 0, 80, "pull x  1.0 MB"},
		{"pull x", 1e6, 4e6, 80, "pull x  1.0 of 4.0 MB  25%"},
		{"pull registry.example/filters/authz:1.0.0", 1e6, 4e6, 40, "pull registry.examp…  1.0 of 4.0 MB  25%"},
		{"pull é€registry", 1e6, 4e6, 30, "pull é€re…  1.0 of 4.0 MB  25%"},
		{"pull x", 1e6, 4e6, 1, "…  1.0 of 4.0 MB  25%"},
		{"pull x", 1 << 62, 1 << 62, 0, "pull x  4611686018427.4 of 4611686018427.4 MB  100%"},
	} {
		got := barLine(tc.title, tc.done, tc.total, tc.columns)
		if got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		if n := utf8.RuneCountInString(got); tc.columns > 21 && n > tc.columns {
			t.Errorf("%q has %d columns of %d", got, n, tc.columns)
		}
	}
	if strings.ContainsRune(barLine("x", 1, 2, 10), '\n') {
		t.Error("a line ends itself")
	}
}
