package distributor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

func courier(t *testing.T) *evidence {
	t.Helper()
	e, err := openEvidence(nil, t.TempDir(), "registry.example", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Two who find different signatures of the same artifact at the same time both keep theirs.
func TestEvidenceOfManyAtOnceIsKept(t *testing.T) {
	const many = 40
	e, digest := courier(t), registry.DigestOf([]byte("artifact"))
	var all sync.WaitGroup
	for i := range many {
		var piece signing.Evidence
		if err := json.Unmarshal([]byte(fmt.Sprintf(`{"form":"tag","payload":"%s","signature":"AA=="}`, fmt.Sprintf("%04d", i))), &piece); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := e.keepArtifact(digest, trust.Dossier{Manifest: []byte("{}"), Evidence: []signing.Evidence{piece}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	kept, err := stored(e.path(string(digest)), nil, trust.ParseDossier)
	if err != nil || len(kept.Evidence) != many {
		t.Errorf("%d of %d are kept, %v", len(kept.Evidence), many, err)
	}
}

// Who asks for what is there now is not given the answer to a question that was put before.
func TestGatheringNowDoesNotJoinAnEarlierOne(t *testing.T) {
	e := courier(t)
	under, free := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	go func() {
		_ = e.gather(t.Context(), "file", false, func(context.Context) error {
			asked.Add(1)
			close(under)
			<-free
			return nil
		})
	}()
	<-under
	defer close(free)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := e.gather(ctx, "file", true, func(context.Context) error { asked.Add(1); return nil }); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}
