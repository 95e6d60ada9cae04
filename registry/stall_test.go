package registry

import (
	"errors"
	"testing"
	"time"
)

// A body has stalled when it brings less than MinBytesPerSecond over as long as it may stall; what it brought before does not help it.
func TestPace(t *testing.T) {
	type read struct {
		took time.Duration
		n    int
	}
	const second, timeout = time.Second, 10 * time.Second
	for _, tc := range []struct {
		name  string
		reads []read
		slow  int // which read shows it; -1: none
	}{
		{"nothing yet", nil, -1},
		{"a drop a second", []read{{second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}, {second, 1}}, 9},
		{"fast", []read{{second, 1 << 20}, {9 * second, 1}, {9 * second, 1 << 20}}, -1},
		{"just enough", []read{{timeout, 10 * MinBytesPerSecond}, {timeout, 10 * MinBytesPerSecond}}, -1},
		{"just too little", []read{{timeout, 10*MinBytesPerSecond - 1}}, 0},
		{"fast, and then it drips", []read{{timeout, 100 << 20}, {9 * second, 1}, {second, 1}}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p pace
			slow := -1
			for i, r := range tc.reads {
				if p.tooSlow(r.took, r.n, timeout) {
					slow = i
					break
				}
			}
			if slow != tc.slow {
				t.Errorf("found at %d, want %d", slow, tc.slow)
			}
			if slow >= 0 && !errors.Is(p.err(), errStalled) {
				t.Error(p.err())
			}
		})
	}
}

// A blob that is said to be empty is the empty one: nobody reads its bytes to find out.
func TestEmptyBlobs(t *testing.T) {
	for digest, good := range map[Digest]bool{DigestOf(nil): true, DigestOf([]byte("x")): false} {
		_, err := uniqueBlobs([]bundleManifest{{blobs: []Descriptor{{Digest: digest, Size: 0}}}})
		if (err == nil) != good || err != nil && !errors.Is(err, ErrInvalidManifest) {
			t.Errorf("%s: %v", digest, err)
		}
	}
}
