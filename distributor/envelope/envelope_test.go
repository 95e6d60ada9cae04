package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

var of = model.SecretRef{Layer: "team/a", Name: "token", Version: 3, ID: "00000000000000000000000000000007"}

func key(b byte) Key {
	var k Key
	for i := range k {
		k[i] = b
	}
	return k
}

func line(k Key) string { return base64.StdEncoding.EncodeToString(k[:]) + "\n" }

// ring is a file of keys.
func ring(t *testing.T, keys ...Key) *Keyring {
	t.Helper()
	k, err := OpenKeyring(write(t, filepath.Join(t.TempDir(), "keys"), keys...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, path string, keys ...Key) string {
	t.Helper()
	text := "# keys\n\n"
	for _, k := range keys {
		text += line(k)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

const value = "correct-horse-battery-staple"

func sealed(t *testing.T, k *Keyring) []byte {
	t.Helper()
	s, id, err := k.Seal(of, []byte(value))
	if err != nil || id == "" || strings.Contains(string(s), value) {
		t.Fatalf("%q %v", id, err)
	}
	return s
}

func TestSealedOpens(t *testing.T) {
	k := ring(t, key(1), key(2))
	s := sealed(t, k)
	if got, err := k.Open(of, s); err != nil || string(got) != value {
		t.Errorf("%q, %v", got, err)
	}
	if again := sealed(t, k); string(again) == string(s) {
		t.Error("the same value is sealed alike twice")
	}
	if first, err := k.First(); err != nil || first != key(1).ID() {
		t.Errorf("the first key is %s, %v", first, err)
	}
}

// refused wants an error that says what to do and has nothing of the value or of a key.
func refused(t *testing.T, got []byte, err error, words ...string) {
	t.Helper()
	told, ok := errors.AsType[*model.Error](err)
	if !ok || !errors.Is(err, model.ErrPrecondition) || got != nil || told.Next == "" && told.Cause == nil {
		t.Fatalf("%q, %v", got, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v; it should have %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "horse") || strings.Contains(err.Error(), line(key(1))[:20]) {
		t.Errorf("it has what it should not: %v", err)
	}
}

func TestEveryByteCounts(t *testing.T) {
	k := ring(t, key(1), key(2))
	s := sealed(t, k)
	for i := range s {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := append([]byte(nil), s...)
			bad[i] ^= flip
			got, err := k.Open(of, bad)
			refused(t, got, err)
		}
	}
	for n := range s {
		got, err := k.Open(of, s[:n])
		refused(t, got, err)
	}
	got, err := k.Open(of, append(append([]byte(nil), s...), 0))
	refused(t, got, err, "damaged")
	// The id of another key that is there.
	bad := append([]byte(nil), s...)
	id := key(2).id()
	copy(bad[1:], id[:])
	got, err = k.Open(of, bad)
	refused(t, got, err, "damaged")
}

func TestRowsCannotBeSwapped(t *testing.T) {
	k := ring(t, key(1))
	s := sealed(t, k)
	for _, other := range []model.SecretRef{
		{Layer: "team/a", Name: "token", Version: 3, ID: "00000000000000000000000000000008"}, {Layer: "team/a", Name: "token", Version: 3},
		{Layer: "team/b", Name: "token", Version: 3, ID: of.ID}, {Layer: "team/a", Name: "tokem", Version: 3, ID: of.ID}, {Layer: "team/a", Name: "token", Version: 4, ID: of.ID},
		{Layer: "global", Name: "token", Version: 3, ID: of.ID}, {Layer: "team/at", Name: "oken", Version: 3, ID: of.ID}, {Layer: "team/a", Name: "token", Version: 33, ID: of.ID},
	} {
		got, err := k.Open(other, s)
		refused(t, got, err, "damaged", fmt.Sprintf("@%d", other.Version))
	}
}

func TestKeysChange(t *testing.T) {
	k := ring(t, key(1))
	s := sealed(t, k)
	write(t, k.path, key(2), key(1))
	if got, err := k.Open(of, s); err != nil || string(got) != value {
		t.Errorf("the second key: %q, %v", got, err)
	}
	write(t, k.path, key(2))
	got, err := k.Open(of, s)
	refused(t, got, err, "sealed with the key "+key(1).ID(), "this distributor has "+key(2).ID(), "add that key")
	if strings.Contains(err.Error(), k.path) {
		t.Errorf("where the file is goes to whoever asks: %v", err)
	}
	got, err = (*Keyring)(nil).Open(of, s)
	refused(t, got, err, "sealed with the key "+key(1).ID(), "--secret-key")
	if _, _, err := (*Keyring)(nil).Seal(of, []byte(value)); !errors.Is(err, model.ErrPrecondition) {
		t.Errorf("sealed without a key: %v", err)
	}
}

func TestFilesOfKeys(t *testing.T) {
	for name, test := range map[string]struct{ text, err string }{
		"nothing":       {"", "it has none"},
		"words only":    {"# none yet\n", "it has none"},
		"no base64":     {line(key(1)) + "hunter2\n", "line 2 is not 32 bytes"},
		"a short key":   {base64.StdEncoding.EncodeToString([]byte("hunter2")), "line 1 is not 32 bytes"},
		"too many keys": {strings.Repeat(line(key(1)), maxKeys+1), "more than 16 keys"},
		"a large file":  {strings.Repeat("#\n", maxFile), "more than 16384 bytes"},
		"one":           {"  " + strings.TrimSpace(line(key(1))), ""},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeyring(path, nil)
		if (err == nil) != (test.err == "") || err != nil && (!strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyringIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	k, err := MakeKeyring(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s := sealed(t, k)
	if _, err := MakeKeyring(path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over one that is there: %v", err)
	}
	again, err := OpenKeyring(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(of, s); err != nil || string(got) != value {
		t.Errorf("%q, %v", got, err)
	}
}

// A file that is being written, or away for a while, takes nothing away, and is spoken of once.
func TestKeysOutliveTheirFile(t *testing.T) {
	var log bytes.Buffer
	path := write(t, filepath.Join(t.TempDir(), "keys"), key(1))
	k, err := OpenKeyring(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := sealed(t, k)
	opens := func(what string) {
		t.Helper()
		for range 3 {
			if got, err := k.Open(of, s); err != nil || string(got) != value {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
	}
	said := func(what string, times int) {
		t.Helper()
		if got := strings.Count(log.String(), what); got != times {
			t.Errorf("the log says %q %d times, not %d: %s", what, got, times, log.String())
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opens("emptied")
	said("it has none", 1)
	if err := os.WriteFile(path, []byte(line(key(2))+line(key(1))[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	opens("half written")
	said("line 2 is not", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	opens("away")
	said("those that were read before go on", 3)
	said("file="+path, 3)
	write(t, path, key(2), key(1))
	opens("there again")
	said("can be read again", 1)
	if first, err := k.First(); err != nil || first != key(2).ID() {
		t.Errorf("the first is %s, %v", first, err)
	}
	write(t, path, key(2))
	for range 2 {
		got, err := k.Open(of, s)
		refused(t, got, err, key(1).ID())
	}
	said("add it there", 1)
}

// One that is not there yet has no keys, and says nothing of where it is to whoever asks; then it has them.
func TestAwaitedKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	k := AwaitKeyring(path, nil)
	if _, err := k.First(); !errors.Is(err, model.ErrPrecondition) || strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	write(t, path, key(1))
	if first, err := k.First(); err != nil || first != key(1).ID() {
		t.Errorf("the first is %s, %v", first, err)
	}
}

func TestKeysThatOthersMayRead(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: false, 0o644: true, 0o602: true} {
		var log bytes.Buffer
		path := write(t, filepath.Join(t.TempDir(), "keys"), key(1))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeyring(path, slog.New(slog.NewTextHandler(&log, nil))); err != nil || strings.Contains(log.String(), "others on this machine") != warned {
			t.Errorf("%v: %v, %s", mode, err, log.String())
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := key(7)
	for _, said := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k), fmt.Sprintf("%v %#v", []Key{k}, []Key{k})} {
		if !strings.Contains(said, k.ID()) || strings.Contains(said, "7, 7") || strings.Contains(said, "7 7") || strings.Contains(said, "\a") {
			t.Errorf("%q", said)
		}
	}
}

// FuzzOpen: the store's bytes may be anybody's who can write to it.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(line(key(1))), 0o600); err != nil {
		f.Fatal(err)
	}
	k, err := OpenKeyring(path, nil)
	if err != nil {
		f.Fatal(err)
	}
	good, _, err := k.Seal(of, []byte(value))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:headBytes+nonceSize+tagSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		got, err := k.Open(of, sealed)
		if err == nil && string(got) != value { // each process of the fuzzer has sealed it anew
			t.Errorf("%x opens as %q", sealed, got)
		}
		if err != nil && !errors.Is(err, model.ErrPrecondition) {
			t.Errorf("%x: %v", sealed, err)
		}
	})
}

// FuzzKeys: whoever edits the file may write anything.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("# keys\n" + line(key(1)) + line(key(2))))
	f.Add([]byte("hunter2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, why := parse(text)
		if (why == "") != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("%d keys, %q", len(keys), why)
		}
	})
}
