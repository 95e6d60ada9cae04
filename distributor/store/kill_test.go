package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
)

// writerFolder tells the test binary, started again as a child, to write into that folder until it is killed.
const writerFolder = "WAFT_STORETEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerFolder); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver prints a line for each write that was acknowledged, after it was.
func writeForEver(dir string) error {
	ctx := context.Background()
	embedded, err := store.StartEmbedded(ctx, dir, nil)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, embedded.Client())
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		name := "r" + strconv.Itoa(i)
		r, revision, err := s.CreateRollout(ctx, model.Rollout{Name: name}, []model.AuditEntry{{Object: "rollout/" + name, Action: "rollout.start"}})
		if err != nil {
			return err
		}
		r.Message = "updated"
		if _, err := s.UpdateRollout(ctx, r, revision, []model.AuditEntry{{Object: "rollout/" + name, Action: "rollout.done"}}); err != nil {
			return err
		}
		if err := s.PutNodes(ctx, []model.Node{{ID: "n" + strconv.Itoa(i), Generation: int64(i)}}, nil); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	for _, after := range []int{1, 40} {
		t.Run(fmt.Sprintf("after %d writes", after), func(t *testing.T) {
			folder := t.TempDir()
			checkAcknowledged(t, folder, killWriter(t, folder, after))
		})
	}
}

// killWriter starts a writer and kills it once it has acknowledged that many writes; it returns the last acknowledged.
func killWriter(t *testing.T, folder string, after int) int {
	t.Helper()
	writer := exec.CommandContext(t.Context(), os.Args[0])
	writer.Env = append(os.Environ(), writerFolder+"="+folder)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	last := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if last == after {
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = writer.Wait() // it was killed
	if last < after {
		t.Fatalf("the writer ended after %d writes", last)
	}
	return last
}

func checkAcknowledged(t *testing.T, folder string, acknowledged int) {
	t.Helper()
	embedded, err := store.StartEmbedded(t.Context(), folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = embedded.Close() }()
	s, err := store.Open(t.Context(), embedded.Client())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.ListNodes(t.Context(), "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, row := range rows {
		have[row.ID] = true
	}
	for i := 1; i <= acknowledged; i++ {
		r, _, err := s.GetRollout(t.Context(), "r"+strconv.Itoa(i))
		if err != nil || r.Message != "updated" {
			t.Fatalf("rollout %d of %d acknowledged: %q, %v", i, acknowledged, r.Message, err)
		}
		if !have["n"+strconv.Itoa(i)] {
			t.Fatalf("node %d of %d acknowledged is gone", i, acknowledged)
		}
	}
	// The log has no gap, and one entry for each change, acknowledged or not.
	entries, _, err := s.ListAudit(t.Context(), "", 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range entries {
		if want := int64(len(entries) - i); entry.Sequence != want {
			t.Fatalf("audit entry %d from the newest has sequence %d, want %d", i, entry.Sequence, want)
		}
	}
	if len(entries) < 2*acknowledged {
		t.Fatalf("%d audit entries for %d acknowledged changes", len(entries), 2*acknowledged)
	}
}
