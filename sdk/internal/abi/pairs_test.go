package abi

import (
	"errors"
	"slices"
	"testing"
)

func TestPairs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pairs []Pair
		wire  string
	}{
		{"none", nil, "\x00\x00\x00\x00"},
		{"one", []Pair{{"a", "bc"}}, "\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00a\x00bc\x00"},
		{"empty name and value", []Pair{{"", ""}}, "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"NUL and no UTF-8 in a value", []Pair{{"a", "\x00\xff"}, {"a", ""}}, "\x02\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00a\x00\x00\xff\x00a\x00\x00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wire := AppendPairs(nil, test.pairs)
			if string(wire) != test.wire {
				t.Errorf("serialised as %q, want %q", wire, test.wire)
			}
			if size := PairsSize(test.pairs); size != len(test.wire) {
				t.Errorf("PairsSize = %d, want %d", size, len(test.wire))
			}
			got, err := ParsePairs(nil, test.wire)
			if err != nil || !slices.Equal(got, test.pairs) {
				t.Errorf("parsed as %q, %v", got, err)
			}
		})
	}
}

func TestParsePairsOfNothing(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{"", "\x00", "\x00\x00\x00\x00"} {
		if got, err := ParsePairs(nil, wire); err != nil || len(got) != 0 {
			t.Errorf("%q parsed as %q, %v", wire, got, err)
		}
	}
}

func TestParsePairsMalformed(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"too short":          "\x01\x00",
		"one byte not zero":  "\x01",
		"count without rest": "\x01\x00\x00\x00",
		"a huge count":       "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"a huge name":        "\x01\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00a\x00",
		"name without NUL":   "\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00ab\x00",
		"value too long":     "\x01\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00a\x00b\x00",
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := []Pair{{"x", "y"}}
			got, err := ParsePairs(before, wire)
			if !errors.Is(err, ErrPairs) || len(got) != 1 {
				t.Errorf("parsed as %q, %v", got, err)
			}
		})
	}
}

// FuzzParsePairs wants no panic, and what parses to come out the same again.
func FuzzParsePairs(f *testing.F) {
	f.Add("")
	f.Add(string(AppendPairs(nil, []Pair{{":path", "/"}, {"a", ""}, {"a", "\x00"}})))
	f.Add("\x01\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00a\x00")
	f.Fuzz(func(t *testing.T, wire string) {
		pairs, err := ParsePairs(nil, wire)
		if err != nil {
			return
		}
		again, err := ParsePairs(nil, string(AppendPairs(nil, pairs)))
		if err != nil || !slices.Equal(pairs, again) {
			t.Errorf("%q: %q became %q, %v", wire, pairs, again, err)
		}
	})
}

func TestStatusNames(t *testing.T) {
	t.Parallel()
	for status, want := range map[Status]string{OK: "OK", NotFound: "NOT_FOUND", CASMismatch: "CAS_MISMATCH", Unimplemented: "UNIMPLEMENTED", 99: "STATUS_99"} {
		if got := status.Error(); got != want {
			t.Errorf("status %d is called %s, want %s", uint32(status), got, want)
		}
	}
	if OK.Err() != nil || !errors.Is(NotFound.Err(), NotFound) {
		t.Error("OK must be no error, and NOT_FOUND one")
	}
}
