package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// auditFile is a log of two entries, as waft audit -o json writes it.
func auditFile(t testing.TB) []byte {
	t.Helper()
	var head model.AuditHead
	var all []*waftv1.AuditEntry
	for _, action := range []string{"create", "start"} {
		e, err := model.AuditEntry{Actor: "ann", Action: action, Object: "release/edge", At: time.Unix(1764444000, 5).UTC(), Reason: "CVE", Detail: "at once"}.Seal(head)
		if err != nil {
			t.Fatal(err)
		}
		head = e.Head()
		all = append([]*waftv1.AuditEntry{{
			Sequence: e.Sequence, At: timestamppb.New(e.At), Actor: e.Actor, Action: e.Action, Object: e.Object, Reason: e.Reason, Detail: e.Detail, Previous: e.Previous, Hash: e.Hash,
		}}, all...)
	}
	list, err := items(all)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"entries": list})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is no audit log is not found to be a sound one that has nothing in it.
func TestParseAudit(t *testing.T) {
	entries, err := parseAudit("audit.json", auditFile(t))
	if err != nil || len(entries) != 2 || walk(entries) != nil {
		t.Errorf("%v, %v, %v", entries, err, walk(entries))
	}
	if entries, err := parseAudit("audit.json", []byte(`{"entries":[]}`)); err != nil || len(entries) != 0 {
		t.Errorf("of an empty log is read %v, %v", entries, err)
	}
	for _, text := range []string{`{}`, `{"nodes":[{"id":"edge-1"}]}`, `null`, `{"entries":null}`, `{"entries":[null]}`, `[]`, `{"entries":[{"actr":"ann"}]}`} {
		if _, err := parseAudit("audit.json", []byte(text)); err == nil || !strings.Contains(err.Error(), "audit.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func walk(entries []*waftv1.AuditEntry) error {
	var w model.AuditWalk
	for _, e := range entries {
		if err := w.Take(api.AuditEntry(e)); err != nil {
			return err
		}
	}
	return w.End()
}

// FuzzParseAudit reads whatever file is given as an audit log. What is taken is written as the same log, which is found as sound as it was; errors name the file.
func FuzzParseAudit(f *testing.F) {
	whole := auditFile(f)
	f.Add(whole)
	f.Add([]byte(strings.Replace(string(whole), "ann", "eve", 1)))
	f.Add([]byte(`{"entries":[{"sequence":"-1","at":"9999-12-31T23:59:59.999999999Z"},{}],"entries":[]}`))
	f.Add([]byte(`{"Entries":[{"sequence":1,"at":"0001-01-01T00:00:00Z","hash":"\ud83d\ude00"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parseAudit("audit.json", text)
		if err != nil {
			if !strings.Contains(err.Error(), "audit.json") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		list, err := items(entries)
		if err != nil {
			t.Fatalf("%q is taken, and cannot be written: %v", text, err)
		}
		written, err := json.Marshal(map[string]any{"entries": list})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseAudit("audit.json", written)
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%q is written as %q, which is read as %v (%v)", text, written, again, err)
		}
		for i, e := range entries {
			if !proto.Equal(e, again[i]) {
				t.Errorf("entry %d of %q is %v, and written as %v", i, text, e, again[i])
			}
		}
		if first, second := walk(entries), walk(again); (first == nil) != (second == nil) {
			t.Errorf("%q is %v, and then %v", text, first, second)
		}
	})
}
