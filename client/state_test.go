package client

import (
	"sync"
	"testing"
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
