package model

import (
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no zones
)

func TestFrozen(t *testing.T) {
	weekend := FreezeWindow{From: "Fri 16:00", Until: "Mon 08:00", TimeZone: "Europe/Paris", Reason: "weekend"}
	nights := FreezeWindow{From: "Tue 22:00", Until: "Wed 06:00"}
	once := FreezeWindow{From: "2026-12-24T16:00:00+01:00", Until: "2026-12-27T00:00:00Z"}
	for _, test := range []struct {
		name   string
		window FreezeWindow
		now    string
		want   bool
	}{
		{"before the weekend", weekend, "2026-07-03T13:59:59Z", false}, // 15:59 in Paris, in summer
		{"its first moment", weekend, "2026-07-03T14:00:00Z", true},
		{"in winter an hour later", weekend, "2026-12-04T14:30:00Z", false},
		{"and then", weekend, "2026-12-04T15:00:00Z", true},
		{"Saturday", weekend, "2026-07-04T00:00:00Z", true},
		{"Sunday, where the week begins", weekend, "2026-07-05T00:00:00Z", true},
		{"Monday, early", weekend, "2026-07-06T05:59:59Z", true},
		{"its end", weekend, "2026-07-06T06:00:00Z", false},
		{"midweek", weekend, "2026-07-08T12:00:00Z", false},
		{"a night", nights, "2026-07-07T23:00:00Z", true},
		{"its day", nights, "2026-07-08T06:00:00Z", false},
		{"once", once, "2026-12-24T15:00:00Z", true},
		{"a moment before", once, "2026-12-24T14:59:59Z", false},
		{"at the end", once, "2026-12-27T00:00:00Z", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, test.now)
			if err != nil {
				t.Fatal(err)
			}
			if err := ValidateFreeze("rollout/r", "spec.freeze", []FreezeWindow{test.window}); err != nil {
				t.Fatal(err)
			}
			if got := Frozen([]FreezeWindow{{From: "Thu 03:00", Until: "Thu 03:01"}, test.window}, now); (got != "") != test.want {
				t.Errorf("%q, want frozen: %v", got, test.want)
			}
		})
	}
	if got := weekend.String(); got != "frozen from Fri 16:00 until Mon 08:00 (Europe/Paris): weekend" {
		t.Errorf("in words: %s", got)
	}
}

func TestMalformedWindows(t *testing.T) {
	for _, w := range []FreezeWindow{
		{}, {From: "Fri 16:00"}, {From: "Fri", Until: "Mon"}, {From: "Friday 16:00", Until: "Mon 08:00"}, {From: "Fri 25:00", Until: "Mon 08:00"},
		{From: "Fri 16:00", Until: "Fri 16:00"}, {From: "Fri 16:00", Until: "Mon 08:00", TimeZone: "Mars/Olympus"},
		{From: "Fri 16:00", Until: "Mon 08:00", TimeZone: "Local"}, {From: "Fri 16:00", Until: "2026-12-27T00:00:00Z"},
		{From: "2026-12-27T00:00:00Z", Until: "2026-12-24T00:00:00Z"}, {From: "2026-12-24T00:00:00Z", Until: "2026-12-27T00:00:00Z", TimeZone: "Europe/Paris"},
	} {
		if err := ValidateFreeze("rollout/r", "spec.freeze", []FreezeWindow{w}); err == nil {
			t.Errorf("%+v was taken", w)
		}
		if Frozen([]FreezeWindow{w}, time.Now()) != "" {
			t.Errorf("%+v freezes", w)
		}
	}
}
