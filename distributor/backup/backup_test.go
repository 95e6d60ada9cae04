package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// held is what a backup holds, in its order.
type held []string

func (h *held) parts() Parts {
	return Parts{
		Key: func(key string, value []byte) error {
			*h = append(*h, "key "+key+"="+string(value))
			return nil
		},
		File: func(path string, size int64, content io.Reader) error {
			text, err := io.ReadAll(content)
			*h = append(*h, fmt.Sprintf("file %s (%d) %s", path, size, text))
			return err
		},
	}
}

func sample(t testing.TB) ([]byte, End) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{Version: "1.2.3", Made: time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Key(fmt.Sprintf("/waft/v1/k%d", i), bytes.Repeat([]byte{byte(i), 0xff, '\n'}, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"registry/a/b", "modules/" + strings.Repeat("long/", 60) + "c"} {
		if err := w.File(name, 4, strings.NewReader("text and more than was said")); err != nil {
			t.Fatal(err)
		}
	}
	end, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), end
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	text, wrote := sample(t)
	var got held
	h, end, err := Read(bytes.NewReader(text), got.parts())
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != "1.2.3" || h.Format != Format || end != wrote || end.Keys != 3 || end.Files != 2 {
		t.Errorf("%+v %+v, wrote %+v", h, end, wrote)
	}
	if len(got) != 5 || got[1] != "key /waft/v1/k1="+strings.Repeat("\x01\xff\n", 10) || got[3] != "file registry/a/b (4) text" {
		t.Errorf("%q", got)
	}
}

// Wherever a backup is cut, it is not whole; whichever byte of it is another one, that is seen or changes nothing that it holds.
func TestDamageIsFound(t *testing.T) {
	text, _ := sample(t)
	var want held
	if _, _, err := Read(bytes.NewReader(text), want.parts()); err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(text, []byte(`"sha256":"`))
	for n := range last {
		if _, _, err := Read(bytes.NewReader(text[:n]), new(held).parts()); !errors.Is(err, model.ErrInvalid) {
			t.Fatalf("cut after %d bytes of %d: %v", n, len(text), err)
		}
	}
	for i := range text {
		other := bytes.Clone(text)
		other[i] ^= 0x20
		var got held
		if _, _, err := Read(bytes.NewReader(other), got.parts()); err != nil {
			if !errors.Is(err, model.ErrInvalid) {
				t.Fatalf("byte %d: %v", i, err)
			}
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("byte %d is another one, and it reads as %q", i, got)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.File("registry/short", 5, strings.NewReader("four")); err == nil {
		t.Error("a file that is shorter than was said is taken")
	}
	if err := w.Key("/waft/v1/late", nil); err == nil {
		t.Error("a key after files is taken")
	}
}

// What stands outside of a data folder, or is of a newer waft, is refused before anybody is given it.
func TestReadRefuses(t *testing.T) {
	for what, name := range map[string]string{"above": "../etc/passwd", "absolute": "/etc/passwd", "unclean": "a/../../b", "windows": `a\b`} {
		var b bytes.Buffer
		w, err := NewWriter(&b, Header{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.File(name, 1, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var got held
		if _, _, err := Read(&b, got.parts()); !errors.Is(err, model.ErrInvalid) || len(got) != 0 {
			t.Errorf("%s: %v, %q", what, err, got)
		}
	}
	text, _ := sample(t)
	newer := bytes.Replace(text, []byte(`"format":1`), []byte(`"format":9`), 1)
	if _, _, err := Read(bytes.NewReader(newer), new(held).parts()); err == nil || !strings.Contains(err.Error(), "format 9") {
		t.Errorf("a newer format: %v", err)
	}
	stop := errors.New("stop")
	if _, _, err := Read(bytes.NewReader(text), Parts{Key: func(string, []byte) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("whoever takes a key says stop: %v", err)
	}
}

// holed is a backup with a file that has nothing in it but a hole of that many bytes, as GNU tar writes one.
func holed(t testing.TB, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.tar.Flush(); err != nil {
		t.Fatal(err)
	}
	var records string
	for _, kv := range [...][2]string{{"major", "1"}, {"minor", "0"}, {"name", filePart + "registry/hole"}, {"realsize", fmt.Sprint(size)}} {
		record := fmt.Sprintf(" GNU.sparse.%s=%s\n", kv[0], kv[1])
		n := len(record) + 2
		records += fmt.Sprint(n) + record
	}
	for _, part := range []struct {
		kind    byte
		content string
	}{{tar.TypeXHeader, records}, {tar.TypeReg, "0\n" + strings.Repeat("\x00", 510)}} {
		var one bytes.Buffer
		out := tar.NewWriter(&one)
		if err := out.WriteHeader(&tar.Header{Name: "x", Size: int64(len(part.content)), Mode: 0o600, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, part.content); err != nil {
			t.Fatal(err)
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		block := one.Bytes()
		block[typeflagAt] = part.kind
		copy(block[checksumAt:], "        ")
		sum := 0
		for _, c := range block[:512] {
			sum += int(c)
		}
		copy(block[checksumAt:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(block)
	}
	return b.Bytes()
}

// Where a header of tar has these: https://www.gnu.org/software/tar/manual/html_node/Standard.html.
const checksumAt, typeflagAt = 148, 156

// A few bytes that stand for more than there is room for are none of a backup.
func TestFilesWithHoles(t *testing.T) {
	var got held
	if _, _, err := Read(bytes.NewReader(holed(t, 8<<20)), got.parts()); !errors.Is(err, model.ErrInvalid) || len(got) != 0 {
		t.Errorf("a file with a hole: %v, and %d parts", err, len(got))
	}
}

func FuzzRead(f *testing.F) {
	text, _ := sample(f)
	f.Add(text)
	f.Add(text[:1024])
	f.Add(holed(f, 8<<20))
	f.Fuzz(func(t *testing.T, text []byte) {
		var got held
		_, end, err := Read(bytes.NewReader(text), got.parts())
		if err == nil && int64(len(got)) != end.Keys+end.Files {
			t.Errorf("it says %+v and gave %d", end, len(got))
		}
		if err != nil && !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%T: %v", err, err)
		}
		given := 0
		for _, part := range got {
			if given += len(part) - len("file  () "+fmt.Sprint(math.MaxInt64)); given > len(text) {
				t.Errorf("%d bytes gave %d", len(text), given)
			}
			if strings.Contains(part, "file /") || strings.Contains(part, "file ../") {
				t.Errorf("it gave %q", part)
			}
		}
	})
}
