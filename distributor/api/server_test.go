package api

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A page that would not fit a message is cut short; together the pages are the whole list.
func TestPagesFitMessages(t *testing.T) {
	var items []string
	for i := range 50 {
		items = append(items, strings.Repeat("x", (i%10)<<17))
	}
	list := func(p service.Page) (*waftv1.ListAuditResponse, int, error) {
		from := len(p.Token)
		to := min(from+p.Size, len(items))
		out := &waftv1.ListAuditResponse{}
		for _, text := range items[from:to] {
			out.Entries = append(out.Entries, &waftv1.AuditEntry{Detail: text})
		}
		if to < len(items) {
			out.NextPageToken = strings.Repeat("t", to)
		}
		return out, to - from, nil
	}
	read, token := 0, ""
	for {
		out, err := fitting(&waftv1.ListAuditRequest{PageSize: 40, PageToken: token}, list)
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(out); size > MaxMessageBytes {
			t.Fatalf("a page has %d bytes", size)
		}
		for _, e := range out.GetEntries() {
			if e.GetDetail() != items[read] {
				t.Fatalf("item %d is missing or twice", read)
			}
			read++
		}
		if token = out.GetNextPageToken(); token == "" {
			break
		}
	}
	if read != len(items) {
		t.Errorf("%d of %d items were read", read, len(items))
	}
	failure := errors.New("no")
	if _, err := fitting(&waftv1.ListAuditRequest{}, func(service.Page) (*waftv1.ListAuditResponse, int, error) { return nil, 0, failure }); err != failure {
		t.Errorf("got %v", err)
	}
}

// In a list a rollout is short, however many nodes it has.
func TestRolloutInAList(t *testing.T) {
	r := model.Rollout{Name: "edge", Wave: 1, Waves: []model.WaveState{{Nodes: []string{"n1"}, Readings: []model.GateReading{{Gate: "loaded"}}}, {}},
		Latest: []model.GateReading{{Gate: "errorRatio", Verdict: model.VerdictInconclusive, Detail: "12 requests"}},
		Nodes:  map[string]model.NodeProgress{"n1": {}}, History: []model.Transition{{Message: "started"}}}
	short, whole := rolloutProto(r, false).GetStatus(), rolloutProto(r, true).GetStatus()
	if len(short.GetNodes())+len(short.GetHistory())+len(short.GetWaves()[0].GetNodes())+len(short.GetWaves()[0].GetReadings())+len(short.GetWaves()[1].GetLatest()) != 0 {
		t.Errorf("in a list it has %v", short)
	}
	if len(whole.GetNodes()) != 1 || len(whole.GetHistory()) != 1 || len(whole.GetWaves()[0].GetNodes()) != 1 || len(r.Waves[0].Nodes) != 1 {
		t.Errorf("alone it has %v", whole)
	}
	r.Spec.Waves = []model.WaveSpec{{Percent: 100, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{}}}}}
	if warned := rolloutProto(r, true).GetStatus().GetWarnings(); len(warned) != 1 {
		t.Errorf("warned of %q", warned)
	}
	// What gates say meanwhile is of the current wave.
	if now := whole.GetWaves()[1].GetLatest(); len(now) != 1 || now[0].GetGate() != "errorRatio" || now[0].GetDetail() != "12 requests" || len(whole.GetWaves()[0].GetLatest()) > 0 {
		t.Errorf("of what gates say meanwhile it has %v", whole.GetWaves())
	}
}

// A release without filters is wanted only where somebody said so.
func TestReleaseWithoutSpec(t *testing.T) {
	for name, test := range map[string]struct {
		document string
		refused  bool
	}{
		"cut short": {"apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: e}\n", true},
		"explicit":  {"apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: e}\nspec: {filters: []}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := DecodeDocument([]byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			_, err = releaseDraft(m.(*waftv1.Release))
			if refused := errors.Is(err, model.ErrInvalid) && strings.Contains(err.Error(), "release/e: spec: is missing"); refused != test.refused {
				t.Errorf("got %v", err)
			}
		})
	}
}
