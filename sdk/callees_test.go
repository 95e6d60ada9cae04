package sdk

import (
	"math/rand/v2"
	"testing"
)

// TestCalleeTable holds the table against a map, with tokens that follow each other, share places and come again.
func TestCalleeTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table, want := calleeTable{}, map[uint32]callee{}
	for range 100_000 {
		token := uint32(random.IntN(4*directCallees*3))/4*4 + uint32(random.IntN(2))
		switch random.IntN(3) {
		case 0:
			c := &fetch{}
			table.put(token, c)
			want[token] = c
		case 1:
			if c := want[token]; c != nil {
				table.forget(token, c)
				delete(want, token)
			}
		default:
			table.forget(token, &fetch{}) // not the one that made it
		}
		if got := table.get(token); got != want[token] {
			t.Fatalf("token %d: got %p, want %p", token, got, want[token])
		}
	}
	for token, c := range want {
		if table.get(token) != c {
			t.Fatalf("token %d is lost", token)
		}
	}
	if table.size() != len(want) {
		t.Errorf("size %d, want %d", table.size(), len(want))
	}
}
