package sdk

import (
	"errors"
	"testing"
	"time"
)

type (
	word   string
	mark   bool
	degree int8
	mask   uint16
	pair   struct{ a, b int }
	angry  struct{}
)

func (angry) String() string { panic("no") }

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason any
		want   string
	}{
		{errors.New("an error"), "an error"}, {"a text", "a text"}, {[]byte("bytes"), "bytes"}, {2 * time.Second, "2s"},
		{word("named"), "named"}, {mark(true), "true"}, {degree(-5), "-5"}, {mask(9), "9"},
		{pair{1, 2}, "a sdk.pair"}, {&pair{}, "a *sdk.pair"}, {1.5, "a float64"},
		{angry{}, "a sdk.angry that panics when it is asked what it is"}, {nil, "nil"},
	} {
		if got := describe(c.reason); got != c.want {
			t.Errorf("%#v is %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	err := wrap("read body", ErrOtherStream)
	if !errors.Is(err, ErrOtherStream) || err.Error() != "read body: "+ErrOtherStream.Error() {
		t.Errorf("%v", err)
	}
}
