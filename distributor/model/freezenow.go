package model

import (
	"fmt"
	"time"
)

// Freeze keeps every rollout from moving on, as a FreezeWindow does, from the moment at which a person said so.
type Freeze struct {
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Until is when it ends by itself; zero: when somebody ends it.
	Until time.Time `json:"until,omitzero"`
}

// Holds says whether it holds; a nil one never does.
func (f *Freeze) Holds(now time.Time) bool {
	return f != nil && (f.Until.IsZero() || now.Before(f.Until))
}

// String is the freeze in words, for what waits for its end.
func (f *Freeze) String() string {
	end := "waft unfreeze"
	if !f.Until.IsZero() {
		end = f.Until.Format(time.RFC3339)
	}
	return fmt.Sprintf("frozen by %s until %s: %s", f.Actor, end, f.Reason)
}
