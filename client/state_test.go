package client

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/sealed"
)

// What is swept while the record is written is not what it is being written to.
func TestSweepWhileTheRecordIsWritten(t *testing.T) {
	s, damaged, err := openState(t.TempDir())
	if err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
	defer s.close()
	written := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		defer close(written)
		for generation := range int64(100) {
			if err := s.change(func(r *record) { r.Generation = generation + 1 }); err != nil {
				t.Errorf("generation %d is not kept: %v", generation+1, err)
				return
			}
		}
	})
	for {
		select {
		case <-written:
			return
		default:
			if err := s.sweep(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What the disk did not take of what a client has seen and was asked for is there after the next write.
func TestNotesAreWrittenLater(t *testing.T) {
	dir := t.TempDir()
	s, damaged, err := openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
	hash := model.Digest(nil)
	if err := s.change(func(r *record) { r.Open, r.Refused = true, &refusal{Hash: hash} }); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Node: "app-1", Log: slog.New(slog.DiscardHandler)}
	c := &Client{cfg: cfg, log: cfg.Log, state: s, reporter: newReporter(nil, cfg.Log, nil), inbox: newInbox(cfg, s, &Snapshot{})}
	c.taker.refused = s.record.Refused
	inTheWay := filepath.Join(dir, recordFile+sealed.PreviousSuffix)
	if err := os.MkdirAll(filepath.Join(inTheWay, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	body, err := anypb.New(&waftv1.Chain{Hash: hash, Generation: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.inbox.takeChain([]*mcpv1.Resource{{Metadata: &mcpv1.Metadata{Name: "app-1"}, Body: body}}); err != nil {
		t.Fatal(err)
	}
	c.forgive()
	c.reporter.retry = 7
	c.retry()
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := c.state.change(func(r *record) { r.Open = false }); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s, damaged, err = openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
	defer s.close()
	if want := (record{Generation: 5, Retry: 7}); s.record != want {
		t.Errorf("the record is %+v, want %+v", s.record, want)
	}
}

// What the distributor's chain must be, one on disk must be, too: a file without any, and one without a digest, are no snapshots.
func TestNoSnapshotWithoutAChain(t *testing.T) {
	if got, _, err := decodeSnapshot("", nil, nil); !errors.Is(err, sealed.ErrTorn) {
		t.Errorf("an empty file is %+v (%v)", got, err)
	}
	body, err := anypb.New(&waftv1.Chain{Hash: "h"})
	if err != nil {
		t.Fatal(err)
	}
	content, err := encodeSnapshot(&mcpv1.Resource{Body: body}, &Snapshot{release: release{hash: "h"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := decodeSnapshot("h", content, nil); err == nil || !strings.Contains(err.Error(), "no digest") {
		t.Errorf("a chain whose hash is none is %+v (%v)", got, err)
	}
}
