package model

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// FreezeWindow is a time in which no wave begins and no node is moved on: once, between two moments, or each week, between two times of the
// week. What has moved is watched all the same, and goes back where it must.
type FreezeWindow struct {
	// From and Until are both moments as in RFC 3339 (2026-12-24T16:00:00Z), or both times of the week: a day of three letters and a time
	// (Fri 16:00). Until is not in the window. A window of the week may go over its end: Fri 16:00 to Mon 08:00.
	From  string `json:"from"`
	Until string `json:"until"`
	// TimeZone is the zone of times of the week, by its name in the IANA database. Empty: UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
}

// Frozen is what forbids to move on now, in words, or empty. A window that is malformed forbids nothing; ValidateFreeze refuses it before.
func Frozen(windows []FreezeWindow, now time.Time) string {
	for _, w := range windows {
		span, err := w.parse()
		if err == nil && span.holds(now) {
			return w.String()
		}
	}
	return ""
}

// String is the window in words.
func (w FreezeWindow) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "frozen from %s until %s", w.From, w.Until)
	if w.TimeZone != "" {
		b.WriteString(" (" + w.TimeZone + ")")
	}
	if w.Reason != "" {
		b.WriteString(": " + w.Reason)
	}
	return b.String()
}

// ValidateFreeze checks windows; field is their path. Every problem is an *Error of kind ErrInvalid, all of them joined.
func ValidateFreeze(object, field string, windows []FreezeWindow) error {
	if len(windows) > MaxFreezeWindows {
		return Invalidf(object, field, "use fewer", "%d windows are more than %d", len(windows), MaxFreezeWindows)
	}
	var problems []error
	for i, w := range windows {
		at := fmt.Sprintf("%s[%d]", field, i)
		if _, err := w.parse(); err != nil {
			problems = append(problems, Invalidf(object, at, "write both as 2026-12-24T16:00:00Z, or both as Fri 16:00", "%v", err))
		}
		problems = append(problems, validateText(object, at+".reason", w.Reason))
	}
	return errors.Join(problems...)
}

// MaxFreezeWindows is how many windows a list may hold.
const MaxFreezeWindows = 64

// freezeSpan is a window that was understood: once, or each week.
type freezeSpan struct {
	from, until time.Time
	zone        *time.Location
	// weekly, the minutes since Sunday, midnight.
	fromMinute, untilMinute int
}

func (w FreezeWindow) parse() (freezeSpan, error) {
	var s freezeSpan
	from, fromErr := time.Parse(time.RFC3339, w.From)
	until, untilErr := time.Parse(time.RFC3339, w.Until)
	if fromErr == nil && untilErr == nil {
		switch {
		case w.TimeZone != "":
			return s, fmt.Errorf("the zone %q is for times of the week; %s has its own", w.TimeZone, w.From)
		case !until.After(from):
			return s, fmt.Errorf("%s is not after %s", w.Until, w.From)
		}
		s.from, s.until = from, until
		return s, nil
	}
	var err error
	if s.fromMinute, err = minuteOfWeek(w.From); err != nil {
		return s, err
	}
	if s.untilMinute, err = minuteOfWeek(w.Until); err != nil {
		return s, err
	}
	if s.fromMinute == s.untilMinute {
		return s, fmt.Errorf("from %s until %s would be all the week", w.From, w.Until)
	}
	if s.zone, err = time.LoadLocation(w.TimeZone); err != nil || w.TimeZone == "Local" {
		return s, fmt.Errorf("%q is no time zone", w.TimeZone)
	}
	return s, nil
}

func (s freezeSpan) holds(now time.Time) bool {
	if s.zone == nil {
		return !now.Before(s.from) && now.Before(s.until)
	}
	local := now.In(s.zone)
	minute := int(local.Weekday())*minutesOfDay + local.Hour()*60 + local.Minute()
	if s.fromMinute < s.untilMinute {
		return s.fromMinute <= minute && minute < s.untilMinute
	}
	return minute >= s.fromMinute || minute < s.untilMinute
}

const minutesOfDay = 24 * 60

// minuteOfWeek reads a day and a time, as in Fri 16:00, as minutes since Sunday, midnight.
func minuteOfWeek(text string) (int, error) {
	day, clock, ok := strings.Cut(text, " ")
	t, err := time.Parse("15:04", clock)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is neither a moment nor a time of the week", text)
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		if day == d.String()[:3] {
			return int(d)*minutesOfDay + t.Hour()*60 + t.Minute(), nil
		}
	}
	return 0, fmt.Errorf("%q is no day; use Mon, Tue, Wed, Thu, Fri, Sat or Sun", day)
}
