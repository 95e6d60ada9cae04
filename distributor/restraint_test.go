package distributor

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const always = "freeze:\n- {from: 2000-01-01T00:00:00Z, until: 2100-01-01T00:00:00Z, reason: the century}\n"

func TestFreezeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "freeze.yaml")
	age := time.Hour
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// Two writes may have the same time on a file system that keeps no more of it.
		age -= time.Minute
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write(always)
	var log strings.Builder
	f, err := newFreezeFile(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, windows int) {
		t.Helper()
		if got := f.windows(); len(got) != windows {
			t.Errorf("%s: %d windows, want %d", what, len(got), windows)
		}
	}
	want("as it was written", 1)
	write("freeze: [{from: Fri 16:00, until: Mon 08:00}, {from: Tue 00:00, until: Tue 01:00}]\n")
	want("written again", 2)
	for _, broken := range []string{"freeze: {", "freezes: []", "freeze: [{from: Fri, until: Mon}]", "freeze: []\n---\nfreeze: []\n", "", "freeze:\n"} {
		write(broken)
		want("broken, which must not thaw the fleet", 2)
		want("broken still, which is told", 2)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("gone", 2)
	want("gone for longer", 2)
	want("gone for longer still, which is not told again", 2)
	if told := strings.Count(log.String(), "could not be read"); told != 7 {
		t.Errorf("the log tells of %d broken files, want 7:\n%s", told, &log)
	}
	write("freeze: []\n# " + strings.Repeat("x", 5<<20))
	want("larger than what is read", 2)
	write("freeze: []\n")
	want("empty", 0)
}

func TestFreezeFileAtTheStart(t *testing.T) {
	for name, text := range map[string]string{"malformed": "freeze: [{from: Fri, until: Mon}]", "no YAML": "\t"} {
		path := filepath.Join(t.TempDir(), "freeze.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newFreezeFile(path, slog.Default()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newFreezeFile(filepath.Join(t.TempDir(), "none"), slog.Default()); err == nil {
		t.Error("a file that is not there was taken")
	}
	if f, err := newFreezeFile("", slog.Default()); err != nil || f.windows() != nil {
		t.Errorf("no file: %v", err)
	}
}
