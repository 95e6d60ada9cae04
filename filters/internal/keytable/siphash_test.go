package keytable

import "testing"

// TestSiphash holds the vectors of the reference implementation: key 00…0f, data 00, 01, … of each length.
func TestSiphash(t *testing.T) {
	t.Parallel()
	key := secret{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	data := make([]byte, 15)
	for i := range data {
		data[i] = byte(i)
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := siphash(key, data[:n]); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}
