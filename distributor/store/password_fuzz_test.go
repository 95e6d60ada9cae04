package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzPassword reads whatever may stand in the file of etcd's password. The password is the content, but for the end of its lines; an error names the file, and has
// nothing of the content.
func FuzzPassword(f *testing.F) {
	f.Add([]byte("correct-horse-battery-staple\n"))
	f.Add([]byte(" spaces around it \r\n"))
	f.Add([]byte("two-lines-are-no\npassword-of-one\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte{0xff, 0xfe, 'x', 0, '\n'})
	f.Add(bytes.Repeat([]byte("x"), maxPasswordBytes+1))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		password, err := readPassword(path)
		if err != nil {
			const telling = 12 // bytes that no word of ours has by chance
			if password != "" || !strings.Contains(err.Error(), path) || len(content) >= telling && strings.Contains(err.Error(), string(content)) {
				t.Errorf("%q gives %q, and the error %q", content, password, err)
			}
			return
		}
		if password == "" || len(password) > maxPasswordBytes || strings.ContainsAny(password, "\r\n\x00") {
			t.Errorf("%q gives %q", content, password)
		}
		if end, whole := bytes.CutPrefix(content, []byte(password)); !whole || len(bytes.Trim(end, "\r\n")) > 0 {
			t.Errorf("%q gives %q, which leaves %q", content, password, end)
		}
	})
}
