package main

import (
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	delay := &Delay{Percent: 10, Milliseconds: 200, Header: "x-delay", MaxMilliseconds: 1000}
	abort := &Abort{Percent: 50, Status: 502, Header: "x-abort"}
	for _, test := range []struct {
		name        string
		fault       Fault
		wishes      wishes
		delay, roll float64
		want        choice
	}{
		{"nothing", Fault{}, wishes{"5", "500"}, 0, 0, choice{}},
		{"by chance", Fault{delay, abort}, wishes{}, 9.99, 49.99, choice{200 * time.Millisecond, 502}},
		{"not by chance", Fault{delay, abort}, wishes{}, 10, 50, choice{}},
		{"each by itself", Fault{delay, abort}, wishes{}, 99, 0, choice{0, 502}},
		{"asked for", Fault{delay, abort}, wishes{"30", "418"}, 99, 99, choice{30 * time.Millisecond, 418}},
		{"asked for too much", Fault{delay, nil}, wishes{"99999", ""}, 99, 99, choice{time.Second, 0}},
		{"no number", Fault{delay, abort}, wishes{"soon", "all"}, 99, 99, choice{}},
		{"no error", Fault{delay, abort}, wishes{"-1", "200"}, 99, 99, choice{}},
		{"no status", Fault{nil, abort}, wishes{"", "600"}, 99, 99, choice{}},
		{"a bad wish leaves chance", Fault{delay, abort}, wishes{"0", "0"}, 0, 0, choice{200 * time.Millisecond, 502}},
		{"never", Fault{&Delay{Milliseconds: 1}, nil}, wishes{}, 0, 0, choice{}},
		{"always", Fault{nil, &Abort{Percent: 100, Status: 500}}, wishes{}, 0, 99.999999, choice{0, 500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := test.fault.choose(test.wishes, test.delay, test.roll); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
