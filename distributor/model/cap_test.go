package model

import "testing"

func TestParseCap(t *testing.T) {
	for text, want := range map[string]Cap{"": {}, "1": {Nodes: 1}, "250": {Nodes: 250}, "1%": {Percent: 1}, "100%": {Percent: 100}} {
		got, err := ParseCap(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "0%", "101%", "5 %", "%", "many", "1.5%", "99999999999999999999"} {
		if got, err := ParseCap(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func TestCapOf(t *testing.T) {
	for _, test := range []struct {
		cap         Cap
		nodes, want int
	}{
		{Cap{}, 1000, 0}, {Cap{Nodes: 3}, 1000, 3}, {Cap{Nodes: 3}, 1, 3},
		{Cap{Percent: 5}, 100, 5}, {Cap{Percent: 5}, 119, 5}, {Cap{Percent: 5}, 19, 1}, {Cap{Percent: 5}, 0, 1}, {Cap{Percent: 100}, 7, 7},
	} {
		if got := test.cap.Of(test.nodes); got != test.want {
			t.Errorf("%v of %d nodes is %d, want %d", test.cap, test.nodes, got, test.want)
		}
	}
}
