package watched

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// folder has files that are written at another time each, however soon one is written after the other.
type folder struct {
	t    *testing.T
	path string
	at   time.Time
}

func newFolder(t *testing.T) *folder {
	return &folder{t: t, path: t.TempDir(), at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

func (f *folder) write(name, text string) {
	f.t.Helper()
	f.at = f.at.Add(time.Second)
	if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(f.file(name), f.at, f.at); err != nil {
		f.t.Fatal(err)
	}
}

// together joins what files hold; one that says "broken" cannot be used.
func together(contents [][]byte) (string, error) {
	text := string(bytes.Join(contents, []byte("+")))
	if strings.Contains(text, "broken") {
		return "", errors.New(text)
	}
	return text, nil
}

func TestFiles(t *testing.T) {
	dir := newFolder(t)
	dir.write("a", "1")
	dir.write("b", "2")
	var said []string
	files, err := Open(0, together, func(value string, err error) { said = append(said, fmt.Sprintf("%s %t", value, err != nil)) }, dir.file("a"), dir.file("b"))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, now string, told ...string) {
		t.Helper()
		if got := files.Now(); got != now {
			t.Errorf("%s: the files hold %q, want %q", what, got, now)
		}
		if !slices.Equal(said, told) {
			t.Errorf("%s: said %q, want %q", what, said, told)
		}
		said = nil
	}
	expect("as they were opened", "1+2")
	dir.write("a", "one")
	expect("a changed one", "one+2", "one+2 false")
	expect("nothing new", "one+2")

	dir.write("b", "broken")
	expect("a look at one that cannot be used, which may be half written", "one+2")
	expect("another look", "one+2", "one+2 true")
	expect("it is told once", "one+2")
	dir.write("b", "broken in another way")
	expect("another state of it", "one+2")
	expect("is told, too", "one+2", "one+2 true")
	dir.write("b", "two")
	expect("one that can be used again", "one+two", "one+two false")

	if err := os.Remove(dir.file("a")); err != nil {
		t.Fatal(err)
	}
	expect("one that has gone", "one+two")
	expect("is told", "one+two", "one+two true")
	expect("once", "one+two")
	dir.write("a", "1")
	expect("until it is back", "1+two", "1+two false")
}

// A file is looked at no more often than it was said, whoever asks.
func TestFilesAreLookedAtNowAndThen(t *testing.T) {
	dir := newFolder(t)
	dir.write("a", "1")
	files, err := Open(time.Hour, together, func(string, error) {}, dir.file("a"))
	if err != nil {
		t.Fatal(err)
	}
	dir.write("a", "2")
	if got := files.Now(); got != "1" {
		t.Errorf("the file was looked at again: %q", got)
	}
}

// What changes while it is read is not taken, and is not told either: the next look sees what it has become.
func TestFilesThatChangeMeanwhile(t *testing.T) {
	dir := newFolder(t)
	dir.write("a", "1")
	files, err := Open(0, together, func(_ string, err error) {
		if err != nil {
			t.Errorf("told: %v", err)
		}
	}, dir.file("a"))
	if err != nil {
		t.Fatal(err)
	}
	dir.write("a", "2")
	seen, err := files.stat()
	if err != nil {
		t.Fatal(err)
	}
	dir.write("a", "3")
	if _, err := files.read(seen); !errors.Is(err, errChanging) {
		t.Errorf("what has changed since it was seen was read: %v", err)
	}
	if got := files.Now(); got != "3" {
		t.Errorf("the next look has %q", got)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := newFolder(t)
	dir.write("bad", "broken")
	dir.write("large", strings.Repeat("x", maxFileBytes+1))
	for name, want := range map[string]string{"bad": "broken", "large": "larger than", "none": "no such file"} {
		if _, err := Open(0, together, func(string, error) {}, dir.file(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
