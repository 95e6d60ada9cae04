package keytable

import (
	"encoding/binary"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// idle is a filter that does nothing.
type idle struct{}

func (idle) NewHandler() sdk.Handler { return idle{} }

// openTest opens a table in the shared data of a simulated Envoy.
func openTest(t *testing.T, slots int) *Table {
	t.Helper()
	var table *Table
	sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		var err error
		table, err = Open(p.SharedData(), "test", slots)
		return idle{}, err
	}, "")
	return table
}

func number(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

func TestRemember(t *testing.T) {
	t.Parallel()
	table := openTest(t, Ways) // one set
	const now, until = 1000, 2000
	for i, step := range []struct {
		key      int
		now      int64
		want     Kept
		wantText string
	}{
		{0, now, Fresh, "a new key"}, {0, now, Known, "a key that is there"}, {1, now, Fresh, "another key"},
		{2, now, Fresh, ""}, {3, now, Fresh, ""}, {4, now, Fresh, ""}, {5, now, Fresh, ""}, {6, now, Fresh, ""}, {7, now, Fresh, "the last that fits"},
		{8, now, Full, "one too many"}, {8, now, Full, "it is still not known"}, {0, until - 1, Known, "nothing was given up for it"},
		{8, until, Fresh, "the others are over"}, {8, until, Fresh, "it was over when it came"},
	} {
		got, err := table.Remember(number(step.key), step.now, until)
		if err != nil || got != step.want {
			t.Errorf("step %d, %s: %v, %v, want %v", i, step.wantText, got, err, step.want)
		}
	}
}

// As many keys as a quarter of the slots find room, but for one in a thousand or so, and each is known afterwards.
func TestRememberHasRoom(t *testing.T) {
	t.Parallel()
	const keys = 4000
	table := openTest(t, 4*keys)
	full := 0
	for i := range keys {
		kept, err := table.Remember(number(i), 1, 2)
		if err != nil || kept == Known {
			t.Fatalf("key %d: %v, %v", i, kept, err)
		}
		again, err := table.Remember(number(i), 1, 2)
		if kept == Full {
			full++
		} else if again != Known || err != nil {
			t.Fatalf("key %d again: %v, %v", i, again, err)
		}
	}
	if full > keys/100 {
		t.Errorf("%d of %d keys found no room", full, keys)
	}
}
