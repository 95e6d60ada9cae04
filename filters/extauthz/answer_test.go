package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/sdktest"
)

func TestLifetime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		control string // several header lines with |
		status  int
		want    time.Duration
	}{
		{"", 200, 0},
		{"max-age=30", 200, 30 * time.Second},
		{"max-age=30", 403, 30 * time.Second},
		{"max-age=30", 500, 0},
		{"max-age=3600", 200, time.Minute},
		{`Private, MAX-AGE="7"`, 200, 7 * time.Second},
		{"max-age=30, no-store", 200, 0},
		{"no-cache|max-age=30", 200, 0},
		{"s-maxage=5, max-age=30", 200, 5 * time.Second},
		{"max-age=30, s-maxage=5", 200, 5 * time.Second},
		{"s-maxage=0, max-age=30", 200, 0},
		{"max-age=-1", 200, 0},
		{"max-age=soon", 200, 0},
		{"max-age=99999999999999999999", 200, 0},
	} {
		t.Run(test.control, func(t *testing.T) {
			t.Parallel()
			a := &answer{status: test.status, headers: sdktest.Headers("cache-control", test.control, "age", "1")}
			if got := a.lifetime(time.Minute); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
			if got := a.lifetime(0); got != 0 {
				t.Errorf("%v where nothing is to be remembered", got)
			}
		})
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	for status, want := range map[int][2]bool{0: {false, true}, 100: {false, true}, 199: {false, true}, 200: {true, false}, 299: {true, false},
		300: {false, false}, 403: {false, false}, 499: {false, false}, 500: {false, true}, 599: {false, true}} {
		a := answer{status: status}
		if got := [2]bool{a.allows(), a.failed()}; got != want {
			t.Errorf("%d: allows and failed are %v, want %v", status, got, want)
		}
	}
	if a := (answer{status: 200, err: errors.New("broken")}); a.allows() || !a.failed() {
		t.Error("an answer with an error allows something")
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := newCache(3)
	now := time.Unix(1000, 0)
	answers := map[string]*answer{}
	for i := range 5 {
		key := fmt.Sprint(i)
		answers[key] = &answer{status: 200 + i}
		c.put(key, answers[key], now.Add(time.Minute))
		c.get("0", now) // used, so it stays
	}
	for key, there := range map[string]bool{"0": true, "1": false, "2": false, "3": true, "4": true} {
		if got := c.get(key, now); (got == answers[key]) != there {
			t.Errorf("%s is there: %v, want %v", key, got != nil, there)
		}
	}
	if c.get("0", now.Add(time.Minute)) != nil || len(c.entries) != 2 || c.recent.Len() != 2 {
		t.Error("an answer that is too old is given, or kept")
	}
	c.put("3", answers["4"], now.Add(time.Hour))
	if c.get("3", now.Add(2*time.Minute)) != answers["4"] || c.recent.Len() != 2 {
		t.Error("a newer answer does not replace the older one")
	}
}
