package service

import (
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// What is kept of a long text keeps nothing else of it in memory, and is text also where the cut is within a character.
func TestWhatIsClippedIsByItself(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	for _, limit := range []int{MaxReportStep, MaxReportStep + 1} {
		got := clip(long, limit)
		if unsafe.StringData(got) == unsafe.StringData(long) {
			t.Errorf("%d bytes of it keep all %d", len(got), len(long))
		}
		if !utf8.ValidString(got) || !strings.HasPrefix(got, long[:MaxReportStep]) {
			t.Errorf("it is %q", got)
		}
	}
	short := "no such module"
	if got := clip(short, len(short)); got != short {
		t.Errorf("%q became %q", short, got)
	}
}
