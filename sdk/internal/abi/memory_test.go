package abi

import (
	"testing"
	"unsafe"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	first := uintptr(unsafe.Pointer(&landing))
	for size, landed := range map[uint32]bool{0: true, 1: true, landingSize: true, landingSize + 1: false, 1 << 20: false} {
		at := uintptr(room(size))
		if at == 0 {
			t.Errorf("no room for %d bytes", size)
		}
		if in := at >= first && at < first+landingSize; in != landed {
			t.Errorf("%d bytes in the landing buffer: %v, want %v", size, in, landed)
		}
	}
}
