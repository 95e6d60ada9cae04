package model

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// sealed is a log of some entries, newest first.
func sealed(t *testing.T, actions ...string) []AuditEntry {
	t.Helper()
	var head AuditHead
	var log []AuditEntry
	for _, action := range actions {
		e, err := AuditEntry{At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600)), Actor: "ann", Action: action, Object: "node/n", Reason: "\xff"}.Seal(head)
		if err != nil {
			t.Fatal(err)
		}
		head = e.Head()
		log = slices.Insert(log, 0, e)
	}
	return log
}

func walk(known AuditHead, log []AuditEntry) (AuditHead, error) {
	w := AuditWalk{Known: known}
	for _, e := range log {
		if err := w.Take(e); err != nil {
			return w.Head(), err
		}
	}
	return w.Head(), w.End()
}

// The hash is fixed: logs outlive versions, and others may compute it.
func TestAuditHash(t *testing.T) {
	e := sealed(t, "test")[0]
	text := `{"action":"test","actor":"ann","at":"2026-01-02T02:04:05.000000006Z","object":"node/n","reason":"` + "\uFFFD" + `","sequence":1}`
	if want := Digest([]byte(text)); e.Hash != want || e.Previous != "" || e.Sequence != 1 {
		t.Errorf("the entry is %+v, want the hash %s", e, want)
	}
}

func TestAuditLogThatIsWhole(t *testing.T) {
	for _, actions := range [][]string{nil, {"a"}, {"a", "b", "c"}} {
		log := sealed(t, actions...)
		head, err := walk(AuditHead{}, log)
		if err != nil || head.Sequence != int64(len(actions)) {
			t.Errorf("%d entries: head %s, %v", len(actions), head, err)
		}
		for _, e := range log {
			if _, err := walk(e.Head(), log); err != nil {
				t.Errorf("with the known head %s: %v", e.Head(), err)
			}
		}
		if again, err := ParseAuditHead(head.String()); err != nil || again != head {
			t.Errorf("%s is read as %s, %v", head, again, err)
		}
	}
}

// Whatever is done to one entry shows, and so does a log that was written anew from some entry on, to who knows a head after it.
func TestAuditLogThatIsNot(t *testing.T) {
	edits := map[string]func(e *AuditEntry){
		"sequence": func(e *AuditEntry) { e.Sequence++ },
		"at":       func(e *AuditEntry) { e.At = e.At.Add(1) },
		"actor":    func(e *AuditEntry) { e.Actor = "bob" },
		"action":   func(e *AuditEntry) { e.Action += "x" },
		"object":   func(e *AuditEntry) { e.Object += "x" },
		"reason":   func(e *AuditEntry) { e.Reason = "" },
		"detail":   func(e *AuditEntry) { e.Detail = "x" },
		"previous": func(e *AuditEntry) { e.Previous = Digest(nil) },
		"hash":     func(e *AuditEntry) { e.Hash = Digest(nil) },
	}
	for at := range 3 {
		for name, edit := range edits {
			log := sealed(t, "a", "b", "c")
			edit(&log[at])
			if _, err := walk(AuditHead{}, log); !errors.Is(err, ErrConflict) {
				t.Errorf("the %s of entry %d was changed: %v", name, 3-at, err)
			}
			// Sealed anew, it is a log like any other, but for who knew the one before.
			log = sealed(t, "a", "b", "c")
			known := log[0].Head()
			edit(&log[at])
			for i := at; i >= 0; i-- {
				var before AuditHead
				if i+1 < len(log) {
					before = log[i+1].Head()
				}
				var err error
				if log[i], err = log[i].Seal(before); err != nil {
					t.Fatal(err)
				}
			}
			if name == "sequence" || name == "previous" || name == "hash" {
				continue // Seal has given it back what it had
			}
			if _, err := walk(AuditHead{}, log); err != nil {
				t.Errorf("sealed anew: %v", err)
			}
			if _, err := walk(known, log); !errors.Is(err, ErrConflict) {
				t.Errorf("the %s of entry %d was changed, and all sealed anew: %v", name, 3-at, err)
			}
		}
	}
	log := sealed(t, "a", "b", "c", "d")
	for name, c := range map[string]struct {
		known AuditHead
		log   []AuditEntry
		want  string
	}{
		"the first is missing":          {log: log[:3], want: "entry 1 is missing"},
		"one is missing":                {log: slices.Concat(log[:1], log[2:]), want: "entry 3 is missing"},
		"the last is missing":           {known: log[0].Head(), log: log[1:], want: "it ends with entry 3, and had entry 4"},
		"all are missing":               {known: log[0].Head(), want: "it ends with entry 0"},
		"one is there twice":            {log: slices.Concat(log[:2], log[1:]), want: "entry 2 is missing"},
		"two have changed their places": {log: []AuditEntry{log[0], log[2], log[1], log[3]}, want: "entry 3 is missing"},
	} {
		if _, err := walk(c.known, c.log); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseAuditHeadRefuses(t *testing.T) {
	for _, text := range []string{"", "1", "1:", "x:" + Digest(nil), "-1:" + Digest(nil), "0:" + Digest(nil), "1:sha256:ab"} {
		if head, err := ParseAuditHead(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is read as %s, %v", text, head, err)
		}
	}
}
