package sdk

import (
	"strings"
	"testing"
)

// TestSoundHeaders: a name or a value that was found fit is known by its address, and nothing else is: not an equal string elsewhere, not
// a part of it, not one that was refused, nor an empty one.
func TestSoundHeaders(t *testing.T) {
	v := &vm{}
	name, value := strings.Clone("x-name"), strings.Clone("a value")
	knows := func(name, value string) bool { return known(&v.sound.names, name) && known(&v.sound.values, value) }
	if knows(name, value) || !v.inspect(name, value) || !knows(name, value) {
		t.Fatal("a sound header is not known after it was inspected, or was before")
	}
	if knows(strings.Clone(name), value) || knows(name[:3], value) || knows(name, value[:3]) {
		t.Error("another string is known")
	}
	bad := strings.Clone("x\r\ny")
	if v.inspect(name, bad) || knows(name, bad) || v.inspect("", value) || knows("", value) {
		t.Error("a header that cannot be sent is known")
	}
	long := strings.Repeat("v", soundLength+1)
	if !v.inspect(name, long) || knows(name, long) {
		t.Error("a long value is kept")
	}
	if !v.inspect(name, "") || knows(name, "") {
		t.Error("an empty value is taken for one that was inspected")
	}
	// More strings than there are places push one another out, and are inspected anew.
	for range 2 * soundPlaces {
		if !v.inspect(strings.Clone("x-other"), value) {
			t.Fatal("a sound header is refused")
		}
	}
}
