package main

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk"
)

// maxKeyBytes is the length of the longest key that is looked at.
const maxKeyBytes = 1024

// keyring holds the keys that are known. It is not changed once it is made.
//
// A key is looked up by its hash, never compared byte by byte. How long that takes may tell whether a hash is like another,
// but nobody can choose the hash of a key, so it tells nothing of the keys that are known.
type keyring map[Hash]*identity

// identity is whose a key is.
type identity struct {
	client string
	// notAfter is when the key ends; the zero time for never.
	notAfter time.Time
}

func newKeyring(list []Key) (keyring, error) {
	ring := make(keyring, len(list))
	for i, k := range list {
		at := "keys[" + strconv.Itoa(i) + "]"
		if _, ok := ring[k.SHA256]; ok {
			return nil, sdk.ConfigErrorf(at+".sha256", "this key is there already: which client it is of would be a guess")
		}
		if k.SHA256 == sha256.Sum256(nil) {
			return nil, sdk.ConfigErrorf(at+".sha256", "it is the hash of the empty key")
		}
		if !fitsHeader(k.Client) {
			return nil, sdk.ConfigErrorf(at+".client", "%q cannot stand in a header", k.Client)
		}
		ring[k.SHA256] = &identity{k.Client, k.NotAfter}
	}
	return ring, nil
}

// find is whose a key is, nil for one that is not known.
func (ring keyring) find(key string) *identity {
	if key == "" || len(key) > maxKeyBytes {
		return nil
	}
	hash := Hash(sha256.Sum256([]byte(key)))
	return ring[hash]
}

// fitsHeader says whether s can be the value of a header: printable ASCII without spaces around it.
func fitsHeader(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == ' ' && (i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}
