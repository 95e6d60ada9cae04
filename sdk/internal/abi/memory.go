package abi

import "unsafe"

// landingSize is the most bytes that the host may hand over without an allocation in the callback that asks for memory.
const landingSize = 16 << 10

// landing is where the host's answers land. Each is copied or used up before the next host call.
var landing [landingSize]byte

// large keeps an answer that does not fit there until the next host call: while the host fills it, no pointer of the guest's
// tells the collector that it is in use.
var large []byte

// Landed reports whether s stands where the next answer of the host may come to.
func Landed(s string) bool {
	at, first := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(&landing))
	return first <= at && at < first+landingSize
}

// room gives the host room for an answer. The host fills it and returns from the host call that asked, so the landing buffer
// is free again for the next one. A request for nothing gets an address too: hosts take zero for a failure.
func room(size uint32) unsafe.Pointer {
	large = nil
	if size <= landingSize {
		return unsafe.Pointer(&landing)
	}
	large = make([]byte, size)
	return unsafe.Pointer(unsafe.SliceData(large))
}
