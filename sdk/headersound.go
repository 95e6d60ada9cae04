package sdk

import (
	"unsafe"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Bounds of [soundHeaders]: how many names and values it knows (a power of two), and how long each may be.
const (
	soundPlaces = 16
	soundLength = 128
)

// soundHeaders remembers names and values of headers that were found fit to be sent. Most are constants of the filter or stand in its
// configuration, so the same string comes with each request; looking at its bytes anew took more time than any other function of the guest
// in the headers benchmark. A string is known by its address, which is its alone as long as it is kept here.
type soundHeaders struct{ names, values [soundPlaces]string }

// inspect reports whether [headerFault] finds nothing, and remembers that.
func (v *vm) inspect(name, value string) bool {
	if headerFault(name, value) != "" {
		return false
	}
	remember(&v.sound.names, name)
	remember(&v.sound.values, value)
	return true
}

// known reports whether the string was remembered. The empty one never is.
func known(table *[soundPlaces]string, s string) bool {
	kept := &table[soundPlace(s)]
	return len(*kept) == len(s) && unsafe.StringData(*kept) == unsafe.StringData(s) && s != ""
}

func remember(table *[soundPlaces]string, s string) {
	if len(s) <= soundLength && !abi.Landed(s) {
		table[soundPlace(s)] = s
	}
}

// soundPlace is where a string stands. Strings of a program lie close together, in steps of some bytes.
func soundPlace(s string) uintptr {
	address := uintptr(unsafe.Pointer(unsafe.StringData(s)))
	return (address ^ address>>4 ^ address>>8) % soundPlaces
}
