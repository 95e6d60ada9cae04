package main

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]struct {
		bytes int64
		shown string
	}{
		"1": {1, "1B"}, "1000": {1000, "1kB"}, "1024": {1024, "1KiB"}, "2GiB": {2 << 30, "2GiB"}, "500MB": {500e6, "500MB"},
		"10GiB": {10 << 30, "10GiB"}, "1536MiB": {1536 << 20, "1536MiB"}, "none": {-1, "none"},
	} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want.bytes || s.String() != want.shown {
			t.Errorf("%s: %d, shown as %s, %v; want %d, shown as %s", text, s, s.String(), err, want.bytes, want.shown)
		}
	}
	for _, text := range []string{"", "0", "-1", "1.5GiB", "GiB", "2 GiB", "2gib", "9999999TiB", "99999999999999999999"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken for %d", text, s)
		}
	}
}
