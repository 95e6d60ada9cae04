package model

import (
	"encoding/json"
	"testing"
)

// FuzzAuditHead reads whatever a person may give as the head of an audit log, or the store may have. What is taken is written as it was read.
func FuzzAuditHead(f *testing.F) {
	f.Add("0:")
	f.Add("1:sha256:0000000000000000000000000000000000000000000000000000000000000000")
	f.Add("-1:x")
	f.Fuzz(func(t *testing.T, text string) {
		head, err := ParseAuditHead(text)
		if err != nil {
			return
		}
		again, err := ParseAuditHead(head.String())
		if err != nil || again != head {
			t.Errorf("%q is read as %+v, and that as %+v (%v)", text, head, again, err)
		}
	})
}

// FuzzAudit walks whatever may be given as an audit log. What is sealed here is taken, and not any more when anything of it is changed.
func FuzzAudit(f *testing.F) {
	f.Add([]byte(`[{"actor":"ann","action":"create","object":"release/x","at":"2026-11-29T00:00:00Z"},{"actor":"bob"}]`), 0, "eve")
	f.Add([]byte(`[{"sequence":-1,"hash":"sha256:"},{}]`), 1, "\xff")
	f.Fuzz(func(t *testing.T, text []byte, at int, actor string) {
		var entries []AuditEntry
		if json.Unmarshal(text, &entries) != nil || len(entries) == 0 {
			return
		}
		walk := func() error {
			var w AuditWalk
			for i := len(entries) - 1; i >= 0; i-- {
				if err := w.Take(entries[i]); err != nil {
					return err
				}
			}
			return w.End()
		}
		_ = walk() // whatever it finds
		var head AuditHead
		for i, e := range entries {
			sealed, err := e.Seal(head)
			if err != nil {
				return // a year that no JSON has
			}
			entries[i], head = sealed, sealed.Head()
		}
		if err := walk(); err != nil {
			t.Fatalf("what was sealed is not taken: %v", err)
		}
		changed := &entries[int(uint(at)%uint(len(entries)))]
		before := *changed
		if changed.Actor = actor; *changed == before {
			return
		}
		if err := walk(); err == nil {
			t.Errorf("the actor of an entry was changed from %q to %q, and nobody sees it", before.Actor, actor)
		}
	})
}
