package build

import (
	"bytes"
	"strings"
	"testing"
)

func wasmWith(memory []byte) []byte {
	return joinSections([]section{
		{id: 1, body: []byte{0}}, {id: sectionMemory, body: memory}, {id: sectionCustom, body: []byte("\x01xdata")},
	})
}

func TestSetMemoryMax(t *testing.T) {
	for _, tc := range []struct {
		name   string
		memory []byte
		max    int64
		want   []byte // nil: unchanged
		fails  string
	}{
		{"no maximum", []byte{1, 0, 39}, 64 << 20, []byte{1, 1, 39, 0x80, 8}, ""},
		{"a higher one", []byte{1, 1, 39, 0x80, 0x80, 4}, 64 << 20, []byte{1, 1, 39, 0x80, 8}, ""},
		{"a lower one stays", []byte{1, 1, 2, 3}, 64 << 20, nil, ""},
		{"the same", []byte{1, 1, 2, 0x80, 8}, 64 << 20, nil, ""},
		{"shared", []byte{1, 3, 2, 0x80, 0x10}, 64 << 20, []byte{1, 3, 2, 0x80, 8}, ""},
		{"all of it", []byte{1, 0, 1}, maxMemory, []byte{1, 1, 1, 0x80, 0x80, 4}, ""},
		{"it starts with more", []byte{1, 0, 0x81, 8}, 64 << 20, nil, "to start with"},
		{"64 bits", []byte{1, 4, 1}, 64 << 20, nil, "32-bit"},
		{"two memories", []byte{2, 0, 1, 0, 1}, 64 << 20, nil, "2 memories"},
		{"cut short", []byte{1, 1, 1}, 64 << 20, nil, "ends in the middle"},
		{"bytes behind it", []byte{1, 0, 1, 1}, 64 << 20, nil, "behind its end"},
		{"not a page", []byte{1, 0, 1}, 100, nil, "multiple"},
		{"nothing", []byte{1, 0, 1}, 0, nil, "multiple"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := wasmWith(tc.memory)
			before := bytes.Clone(in)
			out, err := setMemoryMax(in, tc.max)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Fatalf("want %q, have %v", tc.fails, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := before
			if tc.want != nil {
				want = wasmWith(tc.want)
			}
			if !bytes.Equal(out, want) {
				t.Errorf("wrote %x, want %x", out, want)
			}
			if !bytes.Equal(in, before) {
				t.Error("the input was changed")
			}
		})
	}
	t.Run("no memory", func(t *testing.T) {
		if _, err := setMemoryMax([]byte(wasmHeader), 64<<20); err == nil {
			t.Error("want an error")
		}
	})
}

// Whatever the bytes: an error, or a module that differs in its memory section alone, with a maximum no higher than asked.
func FuzzSetMemoryMax(f *testing.F) {
	f.Add(wasmWith([]byte{1, 0, 39}))
	f.Add(wasmWith([]byte{1, 1, 39, 0x80, 0x80, 4}))
	f.Add([]byte(wasmHeader))
	f.Fuzz(func(t *testing.T, in []byte) {
		languages, _ := sections(in)
		_ = languageOf(languages) // must not fail, whatever it reads
		out, err := setMemoryMax(in, 64<<20)
		if err != nil {
			return
		}
		before, err := sections(in)
		if err != nil {
			t.Fatal(err)
		}
		after, err := sections(out)
		if err != nil || len(after) != len(before) {
			t.Fatalf("%d sections became %d: %v", len(before), len(after), err)
		}
		first := true
		for i := range before {
			if before[i].id != after[i].id {
				t.Fatalf("section %d changed its kind", i)
			}
			if before[i].id == sectionMemory && first {
				first = false
				lim, err := readMemory(after[i].body)
				if err != nil || lim.flags&limitsHasMax == 0 || lim.max > 1024 || lim.min > lim.max {
					t.Fatalf("memory %+v, %v", lim, err)
				}
				continue
			}
			if !bytes.Equal(before[i].body, after[i].body) {
				t.Fatalf("section %d changed", i)
			}
		}
	})
}
