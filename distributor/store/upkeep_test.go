package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

func TestWasteful(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	const mb = 1 << 20
	for name, c := range map[string]struct {
		is   condition
		full bool
		want bool
	}{
		"little is idle":              {condition{bytes: 100 * mb, used: 90 * mb}, false, false},
		"much, of a small file":       {condition{bytes: 60 * mb, used: mb}, false, false},
		"most of a large file":        {condition{bytes: 300 * mb, used: 100 * mb}, false, true},
		"less than half of it":        {condition{bytes: 300 * mb, used: 200 * mb}, false, false},
		"full, and something is idle": {condition{bytes: 60 * mb, used: 59 * mb}, true, true},
		"full, and nothing seems so":  {condition{bytes: 60 * mb, used: 60 * mb}, true, true},
		"it did not help a while ago": {condition{bytes: 300 * mb, used: 100 * mb, defragmented: now.Add(-defragmentPause / 2)}, false, false},
		"nor when it was full":        {condition{bytes: 300 * mb, used: 100 * mb, defragmented: now.Add(-time.Second)}, true, false},
		"full still":                  {condition{bytes: 300 * mb, used: 100 * mb, defragmented: now.Add(-upkeepInterval)}, true, true},
		"it is time again":            {condition{bytes: 300 * mb, used: 100 * mb, defragmented: now.Add(-defragmentPause)}, false, true},
	} {
		if got := c.is.wasteful(c.full, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if (condition{bytes: 81, quota: 100}).roomy() || !(condition{bytes: 79, quota: 100}).roomy() || !(condition{bytes: 1 << 40}).roomy() {
		t.Error("who has room")
	}
}

func TestTrim(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	ago := func(d time.Duration, revision int64) moment { return moment{now.Add(-d), revision} }
	for name, c := range map[string]struct {
		past []moment
		want int64
		rest int
	}{
		"nothing is known":           {nil, 0, 0},
		"all of it is new":           {[]moment{ago(keepPast-1, 3), ago(0, 9)}, 0, 2},
		"some of it is old":          {[]moment{ago(2*keepPast, 3), ago(keepPast, 5), ago(keepPast-1, 7), ago(0, 9)}, 5, 2},
		"all of it is, after a rest": {[]moment{ago(2*keepPast, 3), ago(keepPast+1, 5)}, 5, 0},
	} {
		if got, rest := trim(c.past, now); got != c.want || len(rest) != c.rest {
			t.Errorf("%s: up to %d, and %v is left", name, got, rest)
		}
	}
}

// An etcd that nobody told to compact is compacted: what is old of the past goes, and what is not stays.
func TestPastIsThrownAway(t *testing.T) {
	members := etcdtest.Start(t, 1)
	client, err := Connect(External{Endpoints: members.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	u := newUpkeep(client, nil, slog.New(slog.DiscardHandler))
	var ahead time.Duration
	u.now = func() time.Time { return time.Now().Add(ahead) }
	var revisions []int64
	for range 3 {
		put, err := client.Put(t.Context(), everything+"x", "y")
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, put.Header.Revision)
		if _, err := u.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		ahead += keepPast * 2 / 3
	}
	// The first is as old as twice two thirds of what is kept by then, the second is not.
	for i, gone := range []bool{true, false, false} {
		_, err := client.Get(t.Context(), everything+"x", clientv3.WithRev(revisions[i]-1))
		if i == 0 && !errors.Is(err, rpctypes.ErrCompacted) || i > 0 && gone != (err != nil) {
			t.Errorf("what was before write %d: %v", i+1, err)
		}
	}
}

// The member in this process throws the past away by itself: so etcd has understood what it was told.
func TestEmbeddedMemberCompacts(t *testing.T) {
	embedded, err := StartEmbedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	if cfg := embedded.etcd.Server.Cfg; cfg.AutoCompactionMode != embed.CompactorModeRevision || cfg.AutoCompactionRetention != 1000 {
		t.Errorf("it compacts by %q, and keeps %d", cfg.AutoCompactionMode, cfg.AutoCompactionRetention)
	}
}

// fill writes rows until etcd refuses; each time other ones, or the same.
func fill(t *testing.T, s *Store, others bool) {
	t.Helper()
	for i := range 10_000 {
		var rows []model.Node
		for j := range 20 {
			id := fmt.Sprintf("n%d", j)
			if others {
				id = fmt.Sprintf("n%d-%d", i, j)
			}
			rows = append(rows, model.Node{ID: id, Labels: map[string]string{"x": strings.Repeat("x", 10_000) + fmt.Sprint(i)}})
		}
		err := s.PutNodes(t.Context(), rows, nil)
		if err != nil && !errors.Is(err, model.ErrUnavailable) {
			t.Fatal(err)
		}
		if err != nil && strings.Contains(err.Error(), "full") {
			return
		} // a busy machine's etcd may not answer in time
	}
	t.Fatal("etcd does not get full")
}

// An etcd that has filled up with the past takes writes again, all members of it, and one that is full of what is needed stays so and says so.
func TestFullEtcd(t *testing.T) {
	for name, c := range map[string]struct{ others, full bool }{"of the past": {false, false}, "of what is needed": {true, true}} {
		t.Run(name, func(t *testing.T) {
			members := etcdtest.Start(t, 3, func(c *embed.Config) { c.QuotaBackendBytes = 16 << 20 })
			client, err := Connect(External{Endpoints: members.Endpoints}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			s, err := Open(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, c.others)
			u := newUpkeep(client, nil, slog.New(slog.DiscardHandler))
			var ahead time.Duration // a round is a minute after the other
			u.now = func() time.Time { return time.Now().Add(ahead) }
			room, err := u.round(t.Context())
			// A member that is behind compacts later than it is asked, and is seen to in the next round.
			for late := time.Now().Add(time.Minute); (err != nil || room.Full && !c.full) && time.Now().Before(late); {
				time.Sleep(50 * time.Millisecond)
				ahead += upkeepInterval
				room, err = u.round(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if room.Full != c.full || room.Bytes == 0 || room.Quota != 16<<20 {
				t.Errorf("%+v", room)
			}
			err = s.PutNodes(t.Context(), []model.Node{{ID: "late"}}, []model.AuditEntry{{Actor: "a", Action: "test", Object: "node/late"}})
			if (err != nil) != c.full {
				t.Errorf("a write after that: %v", err)
			}
			if len(u.defragmented) != 3 && !c.full {
				t.Errorf("%d members were defragmented", len(u.defragmented))
			}
		})
	}
}

// A user that may use waft's keys alone cannot see to an etcd's room. What there is of it is said all the same, and what somebody else has to do.
func TestFullEtcdOfALimitedUser(t *testing.T) {
	members := etcdtest.Start(t, 1, func(c *embed.Config) { c.BcryptCost = 4 })
	root, err := Connect(External{Endpoints: members.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, step := range []func() error{
		func() error { _, err := root.RoleAdd(t.Context(), "root"); return err },
		func() error { _, err := root.UserAdd(t.Context(), "root", "p"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := root.RoleAdd(t.Context(), "waft"); return err },
		func() error {
			_, err := root.RoleGrantPermission(t.Context(), "waft", everything, clientv3.GetPrefixRangeEnd(everything), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(t.Context(), "waft", "p"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "waft", "waft"); return err },
		func() error {
			_, err := root.Put(t.Context(), everything+"x", strings.Repeat("x", 1<<20))
			return err
		},
		func() error { _, err := root.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := Connect(External{Endpoints: members.Endpoints, User: "waft", PasswordFile: password}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := Refused(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	u := newUpkeep(client, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if room, err := u.round(t.Context()); err != nil || room.Full || room.Bytes == 0 {
		t.Errorf("with room: %+v, %v", room, err)
	}
	for hours := range 3 { // it is said once
		u.now = func() time.Time { return time.Now().Add(time.Duration(hours+1) * keepPast) }
		if _, err := u.round(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if said := strings.Count(log.String(), "--auto-compaction-mode=revision"); said != 1 {
		t.Errorf("that etcd has to compact by itself is said %d times:\n%s", said, log.String())
	}
	status, err := client.Status(t.Context(), members.Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	members.Restart(t, 0, func(c *embed.Config) { c.QuotaBackendBytes = status.DbSize + 1 }) // it is full with the next write
	var room Room
	for late := time.Now().Add(time.Minute); err == nil && !room.Full && time.Now().Before(late); {
		// Until the alarm is raised, which follows the write that it was raised for.
		if _, err := client.Put(t.Context(), everything+"x", strings.Repeat("y", 1<<20)); err == nil {
			continue
		}
		room, err = u.round(t.Context())
	}
	if err != nil || !room.Full || room.Bytes == 0 {
		t.Errorf("without room: %+v, %v", room, err)
	}
	for _, word := range []string{"throw nothing of the past away", "defragment no member", "etcdctl compact, defrag, alarm disarm"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("%q is not in the log:\n%s", word, log.String())
		}
	}
}

// The member in this process is asked and defragmented without a network.
func TestUpkeepOfTheEmbeddedMember(t *testing.T) {
	embedded, err := StartEmbedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	s, err := Open(t.Context(), embedded.Client())
	if err != nil {
		t.Fatal(err)
	}
	u := newUpkeep(s.client, embedded, slog.New(slog.DiscardHandler))
	room, err := u.round(t.Context())
	if err != nil || room.Full || room.Bytes == 0 || room.Quota != quotaBytes {
		t.Errorf("%+v, %v", room, err)
	}
	members := u.members(t.Context())
	if len(members) != 1 {
		t.Fatalf("%d members", len(members))
	}
	if err := u.compact(t.Context()); err != nil {
		t.Error(err)
	}
	if err := u.defragment(t.Context(), members[0]); err != nil {
		t.Error(err)
	}
	if err := s.PutNodes(t.Context(), []model.Node{{ID: "n"}}, nil); err != nil {
		t.Error(err)
	}
}
