package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzBearer reads whatever may stand in the file of --token-file. A token that is taken can be sent in a header, and is the content but for space around it; an error
// names the file, and has nothing of the content.
func FuzzBearer(f *testing.F) {
	f.Add([]byte("eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl\n"))
	f.Add([]byte("\ufeffeyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl\r\n"))
	f.Add([]byte("Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"))
	f.Add([]byte("eyJhbGciOiJFUzI1NiJ9\x00.e30.c2lnbmF0dXJl"))
	f.Add([]byte(" \n"))
	f.Add(bytes.Repeat([]byte("x"), 16<<10+1))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := readBearer(path)
		if err != nil {
			const telling = 12 // bytes that no word of ours has by chance
			if said := strings.TrimSpace(string(content)); token != "" || !strings.Contains(err.Error(), path) || len(said) >= telling && strings.Contains(err.Error(), said) {
				t.Errorf("%q gives %q, and the error %q", content, token, err)
			}
			return
		}
		if token == "" || token != strings.TrimSpace(string(content)) {
			t.Errorf("%q gives %q", content, token)
		}
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		var sent bytes.Buffer
		if err := r.Header.Write(&sent); err != nil || sent.String() != "Authorization: Bearer "+token+"\r\n" {
			t.Errorf("%q gives %q, which is sent as %q (%v)", content, token, &sent, err)
		}
		for _, c := range []byte(token) {
			if c <= ' ' || c >= 0x7f {
				t.Errorf("%q gives %q, which no header takes: %q", content, token, c)
			}
		}
	})
}
