package streams

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestReceive(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct{ ends, want error }{"closed in order": {io.EOF, nil}, "broken": {broken, broken}} {
		t.Run(name, func(t *testing.T) {
			sent := 0
			requests, failed := Receive(t.Context(), func() (int, error) {
				if sent++; sent > 2 {
					return 0, test.ends
				}
				return sent, nil
			})
			if first, second := <-requests, <-requests; first != 1 || second != 2 {
				t.Errorf("received %d and %d", first, second)
			}
			if err := <-failed; !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A request that nobody takes any more does not keep its goroutine for ever: synctest fails when one is left.
func TestReceiveEndsWithTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		Receive(ctx, func() (int, error) { return 1, nil })
		synctest.Wait()
		cancel()
	})
}

func TestClip(t *testing.T) {
	for text, want := range map[string]string{"": "", "ab": "ab", "abcd": "abc", "ab\xff": "ab\uFFFD", "abü": "ab\uFFFD"} {
		if got := Clip(text, 3); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if len(Clip(strings.Repeat("a", 100), 3)) != 3 {
		t.Error("it is not bounded")
	}
}
