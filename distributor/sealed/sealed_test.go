package sealed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// limit is what files of these tests may have.
const limit = 64 << 20

// record is what is kept in these tests.
type record struct {
	Generation int64 `json:"generation,omitempty"`
	Retry      int64 `json:"retry,omitempty"`
}

// A record that is not as it was written is passed over for the one before, whatever is wrong with it, and does not take the place of that one.
func TestSealed(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut off":         func(text string) string { return text[:len(text)/2] },
		"empty":           func(string) string { return "" },
		"changed":         func(text string) string { return strings.Replace(text, `"generation":2`, `"generation":7`, 1) },
		"a later format":  func(text string) string { return strings.Replace(text, `"format":1`, `"format":2`, 1) },
		"something else":  func(string) string { return "[]" },
		"of another type": func(string) string { return `{"format":1,"content":5}` },
		"of another shape": func(string) string {
			const content = `{"retry":5,"generation":"two"}`
			return fmt.Sprintf(`{"format":1,"checksum":%q,"content":%s}`, model.Digest([]byte(content)), content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			for generation := int64(1); generation <= 2; generation++ {
				if err := Write(path, limit, record{Generation: generation}); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(damage(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			var r record
			if _, damaged, err := Read(path, limit, &r); err != nil || !errors.Is(damaged, ErrTorn) || r != (record{Generation: 1}) {
				t.Errorf("it reads %+v, %v", r, damaged)
			}
			if err := Write(path, limit, record{Generation: 3}); err != nil {
				t.Fatal(err)
			}
			if _, damaged, err := Read(path, limit, &r); err != nil || damaged != nil || r.Generation != 3 {
				t.Errorf("written anew, it reads %+v, %v", r, damaged)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if _, damaged, err := Read(path, limit, &r); err != nil || damaged != nil || r.Generation != 1 {
				t.Errorf("gone, it reads %+v, %v", r, damaged)
			}
		})
	}
	if _, damaged, err := Read(filepath.Join(t.TempDir(), "state.json"), limit, &record{}); err != nil || damaged != nil {
		t.Errorf("nothing is damaged: %v", damaged)
	}
}

func TestSealedFileSurvivesATornWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	read := func() (int, string) {
		var content struct{ N int }
		from, damaged, err := Read(path, limit, &content)
		if err != nil {
			t.Fatal(err)
		}
		if from == "" && damaged == nil {
			return 0, ""
		}
		return content.N, from
	}
	if n, from := read(); n != 0 || from != "" {
		t.Errorf("nothing there: %d from %q", n, from)
	}
	for n := 1; n <= 2; n++ {
		if err := Write(path, limit, struct{ N int }{n}); err != nil {
			t.Fatal(err)
		}
	}
	if n, from := read(); n != 2 || from != path {
		t.Errorf("whole: %d from %q", n, from)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) - 1 { // the last byte is the newline
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if n, from := read(); n != 1 || from != path+PreviousSuffix {
			t.Fatalf("cut at %d: %d from %q", cut, n, from)
		}
	}
	for at := range whole {
		changed := append([]byte(nil), whole...)
		changed[at] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, _ := read(); n != 1 && n != 2 { // white space may change, content may not
			t.Fatalf("changed at %d: %d", at, n)
		}
	}
	// A damaged file does not take the place of the sound copy.
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, limit, struct{ N int }{3}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if n, from := read(); n != 1 || from != path+PreviousSuffix {
		t.Errorf("gone: %d from %q", n, from)
	}
	if err := os.WriteFile(path+PreviousSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var content struct{ N int }
	if from, damaged, err := Read(path, limit, &content); from != "" || err != nil || !errors.Is(damaged, ErrTorn) {
		t.Errorf("both damaged: from %q, %v, %v", from, damaged, err)
	}
}

// What could not be read again is not written, and does not take the place of what can.
func TestSealedFileIsNeverTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := Write(path, limit, "sound"); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, limit, strings.Repeat("x", limit)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("written: %v", err)
	}
	var content string
	if from, damaged, err := Read(path, limit, &content); err != nil || damaged != nil || from != path || content != "sound" {
		t.Errorf("%d bytes from %q, %v", len(content), from, errors.Join(damaged, err))
	}
	var most int
	for most = limit; Write(path, limit, strings.Repeat("x", most)) != nil; most -= 64 { // what seals it takes some
	}
	if from, damaged, err := Read(path, limit, &content); err != nil || damaged != nil || from != path || len(content) != most {
		t.Errorf("the largest that is written is not read: %d bytes from %q, %v", len(content), from, errors.Join(damaged, err))
	}
}

// FuzzUnseal: the disk can say anything.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte(`{"format":1,"checksum":"sha256:","content":{}}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var content record
		_ = unseal(text, &content) // must not panic
	})
}
