package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What stands in a token's file goes into a header, or is none: with the mark that some editors begin a file with, a server answers no more than that it knows no such token.
func TestTokensThatNoHeaderTakes(t *testing.T) {
	for text, taken := range map[string]bool{
		"eyJ.e30.c2ln\n": true, " eyJ.e30.c2ln\r\n": true, "\ufeffeyJ.e30.c2ln": false, "eyJ\x00": false, "eyJ\x7f": false, "eyJ eyJ": false, "eyJ\neyJ": false, "": false,
	} {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if token, err := readBearer(path); (err == nil) != taken || taken && token != "eyJ.e30.c2ln" {
			t.Errorf("%q is %q (%v)", text, token, err)
		}
	}
}
