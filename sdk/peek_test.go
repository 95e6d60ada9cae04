package sdk

import (
	"errors"
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// TestPeek: Peek finds what Pairs does, before the headers were read and after, and nothing of another stream's.
func TestPeek(t *testing.T) {
	var foreign *Headers
	l := newLedger(t, func(*Plugin) Filter {
		return prompt(func(r *Request) Action {
			for _, when := range []string{"before", "after"} {
				got, err := r.Headers().Peek()
				got = slices.Clone(got)
				want, _ := r.Headers().Pairs()
				if err != nil || len(want) == 0 || !slices.Equal(got, want) {
					t.Errorf("%s they were read: got %q, %v, want %q", when, got, err, want)
				}
			}
			if foreign != nil {
				if got, err := foreign.Peek(); !errors.Is(err, ErrOtherStream) || got != nil {
					t.Errorf("another stream's: got %q, %v", got, err)
				}
			}
			foreign = r.Headers()
			return Continue
		})
	})
	l.begin(2)
	l.begin(3)
}

// broken is a host whose maps do not hold together.
type broken struct{ *ledger }

func (broken) HeaderPairs(abi.MapType) ([]byte, abi.Status) { return []byte{1, 0, 0, 0}, abi.OK }

func TestPeekBroken(t *testing.T) {
	ran := false
	l := newLedger(t, func(*Plugin) Filter {
		return prompt(func(r *Request) Action {
			got, err := r.Headers().Peek()
			if failed := new(HostError); !errors.As(err, &failed) || failed.Status != abi.ParseFailure || got != nil {
				t.Errorf("a broken map: got %q, %v", got, err)
			}
			ran = true
			return Continue
		})
	})
	l.vm.host = abi.NewHost(broken{l})
	l.begin(2)
	if !ran {
		t.Error("the handler did not run")
	}
}
