package sdk

import (
	"strings"
	"testing"
)

func TestTokenBytes(t *testing.T) {
	t.Parallel()
	const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for c := range 256 {
		if want := strings.IndexByte(token, byte(c)) >= 0; isTokenByte(byte(c)) != want {
			t.Errorf("byte %#x stands in a token: %v, want %v", c, !want, want)
		}
	}
}
