package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

func embeddedClient(t *testing.T) *clientv3.Client {
	t.Helper()
	embedded, err := StartEmbedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = embedded.Close() })
	return embedded.Client()
}

func TestNewerSchemaIsRefused(t *testing.T) {
	client := embeddedClient(t)
	if _, err := open(t.Context(), client, 3, make([]migration, 2)); err != nil {
		t.Fatal(err)
	}
	_, err := open(t.Context(), client, 2, make([]migration, 1))
	if !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "schema version 3") || !strings.Contains(err.Error(), "up to 2") {
		t.Fatalf("error is %v, want a precondition that names both versions", err)
	}
}

func TestMigrations(t *testing.T) {
	client := embeddedClient(t)
	if _, err := open(t.Context(), client, 1, nil); err != nil {
		t.Fatal(err)
	}
	var ran []int
	broken := errors.New("broken")
	steps := []migration{
		func(context.Context, *clientv3.Client, clientv3.Cmp) error { ran = append(ran, 1); return nil },
		func(context.Context, *clientv3.Client, clientv3.Cmp) error { ran = append(ran, 2); return broken },
	}
	if _, err := open(t.Context(), client, 3, steps); !errors.Is(err, broken) || !strings.Contains(err.Error(), "from schema version 2 to 3") {
		t.Fatalf("error is %v, want the broken step's", err)
	}
	steps[1] = func(ctx context.Context, client *clientv3.Client, _ clientv3.Cmp) error {
		ran = append(ran, 2)
		_, err := client.Put(ctx, prefix+"test", "migrated")
		return err
	}
	for range 2 {
		if _, err := open(t.Context(), client, 3, steps); err != nil {
			t.Fatal(err)
		}
	}
	if len(ran) != 3 || ran[0] != 1 || ran[1] != 2 || ran[2] != 2 {
		t.Fatalf("steps ran as %v, want 1, 2 (broken), then 2 alone", ran)
	}
}

// cutShort carries out so many transactions, and no more.
type cutShort struct {
	clientv3.KV
	left int
}

func (c *cutShort) Txn(ctx context.Context) clientv3.Txn {
	if c.left--; c.left < 0 {
		cut, cancel := context.WithCancel(ctx)
		cancel()
		return c.KV.Txn(cut)
	}
	return c.KV.Txn(ctx)
}

// Audit logs of version 2 had no hashes: each entry gets one, also when that was cut short, and the next change goes on from there.
func TestAuditLogIsSealed(t *testing.T) {
	client := embeddedClient(t)
	if _, err := open(t.Context(), client, 2, migrations[:1]); err != nil {
		t.Fatal(err)
	}
	const entries = 2*maxBatch + 1
	for i := range int64(entries) {
		value, err := encode("audit", model.AuditEntry{Sequence: i + 1, At: time.Unix(i, 0), Actor: "ann", Action: "test", Object: "node/n"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), ordered(audit, i+1), value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Put(t.Context(), prefix+"sequence", fmt.Sprint(entries)); err != nil {
		t.Fatal(err)
	}
	whole := client.KV
	client.KV = &cutShort{KV: whole, left: 2}
	before := clientv3.Compare(clientv3.CreateRevision(schemaKey), ">", 0)
	if err := sealedAudit(t.Context(), client, before); err == nil {
		t.Error("no error although it was cut short")
	}
	client.KV = whole
	// Another process has done it, and the one that was halted goes on.
	late := clientv3.Compare(clientv3.ModRevision(schemaKey), "=", 1<<40)
	if err := sealedAudit(t.Context(), client, late); !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("too late: %v", err)
	}
	s, err := Open(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutNodes(t.Context(), []model.Node{{ID: "n"}}, []model.AuditEntry{{At: time.Unix(0, 0), Actor: "ann", Action: "test", Object: "node/n"}}); err != nil {
		t.Fatal(err)
	}
	list, _, err := s.ListAudit(t.Context(), "", 0, 2*entries)
	if err != nil {
		t.Fatal(err)
	}
	var walk model.AuditWalk
	for _, e := range list {
		if err := walk.Take(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := walk.End(); err != nil || walk.Head().Sequence != entries+1 {
		t.Errorf("the log ends with %s, %v", walk.Head(), err)
	}
	if got, err := client.Get(t.Context(), prefix+"sequence"); err != nil || len(got.Kvs) > 0 {
		t.Errorf("the key of version 2 is there still, %v", err)
	}
}

func TestDamagedValuesAreNamed(t *testing.T) {
	client := embeddedClient(t)
	s, err := Open(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"no-json": "{", "no-gzip": "\x1f\x8bnothing"} {
		if _, err := client.Put(t.Context(), rollouts+name, value); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.GetRollout(t.Context(), name); err == nil || !strings.Contains(err.Error(), rollouts+name) {
			t.Errorf("%s: error is %v, want one that names the key", name, err)
		}
	}
}

func TestValueThatIsTooLarge(t *testing.T) {
	noise := make([]byte, 3*maxStored)
	state := uint64(1)
	for i := range noise {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = byte(state >> 56)
	}
	_, err := encode("release/x", noise)
	if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "release/x") {
		t.Fatalf("error is %v, want invalid, naming the object", err)
	}
}

// A rollout of a large fleet has to fit a request of a cluster that is set up as etcd is by default.
func TestRolloutOfManyNodesFits(t *testing.T) {
	r := model.Rollout{Name: "large", Nodes: map[string]model.NodeProgress{}}
	hash := model.Digest([]byte("chain"))
	for i := range 10_000 {
		r.Nodes[fmt.Sprintf("node-%05d.cluster.example", i)] = model.NodeProgress{
			State: model.NodeServing, From: model.ReleaseID{Name: "edge", Hash: hash}, FromGiven: true, Chain: hash, FromChain: hash,
		}
	}
	value, err := encodeRollout(r)
	if err != nil || len(value) > maxStored {
		t.Fatalf("%d bytes, %v", len(value), err)
	}
	t.Logf("10,000 nodes are %d bytes", len(value))
}

func FuzzDecode(f *testing.F) {
	small, _ := encodeRollout(model.Rollout{Name: "a"})
	large, _ := encodeRollout(model.Rollout{Name: "a", Message: strings.Repeat("m", compressAbove)})
	f.Add([]byte(small))
	f.Add([]byte(large))
	f.Add([]byte{0x1f, 0x8b})
	f.Add([]byte(`{"waves":[{"nodes":["a"]}],"progress":[{}],"others":["b"],"runs":[[1,-1],[1,0]]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if r, err := decodeRollout("key", value); err == nil {
			if _, err := encodeRollout(r); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}
