package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// Sizes of an envelope's parts, in bytes.
const (
	form      = 1
	keyBytes  = 32
	idBytes   = 8
	nonceSize = 12
	tagSize   = 16
	headBytes = 1 + idBytes
)

// Key seals values.
type Key [keyBytes]byte

// ID tells one key from another, and nothing else of it.
func (k Key) ID() string { id := k.id(); return hex.EncodeToString(id[:]) }

func (k Key) id() (id [idBytes]byte) {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte("waft: id of a key of secrets"))
	copy(id[:], h.Sum(nil))
	return id
}

// String keeps the key out of whatever prints it.
func (k Key) String() string { return "key " + k.ID() }

// GoString does likewise.
func (k Key) GoString() string { return k.String() }

// errDamaged says that an envelope does not open with the key that it names.
var errDamaged = errors.New("it was changed since it was sealed, or is not what it is stored as")

func (k Key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bound is the additional data.
func bound(head []byte, of model.SecretRef) []byte {
	return fmt.Appendf(nil, "%swaft secret %q %q %d %q", head, of.Layer, of.Name, of.Version, of.ID)
}

// seal makes the envelope of a value.
func (k Key) seal(of model.SecretRef, value []byte) ([]byte, error) {
	gcm, err := k.aead()
	if err != nil {
		return nil, err
	}
	id := k.id()
	sealed := append(make([]byte, 0, headBytes+nonceSize+len(value)+tagSize), form)
	sealed = append(sealed, id[:]...)
	head := sealed[:headBytes:headBytes]
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	sealed = append(sealed, nonce...)
	return gcm.Seal(sealed, nonce, value, bound(head, of)), nil
}

// open reads an envelope of this key's.
func (k Key) open(of model.SecretRef, sealed []byte) ([]byte, error) {
	gcm, err := k.aead()
	if err != nil {
		return nil, err
	}
	head, nonce, text := sealed[:headBytes], sealed[headBytes:headBytes+nonceSize], sealed[headBytes+nonceSize:]
	value, err := gcm.Open(nil, nonce, text, bound(head, of))
	if err != nil {
		return nil, errDamaged
	}
	return value, nil
}

// keyOf is the id of the key that an envelope names.
func keyOf(sealed []byte) (id [idBytes]byte, err error) {
	if len(sealed) < headBytes+nonceSize+tagSize || sealed[0] != form {
		return id, errDamaged
	}
	copy(id[:], sealed[1:])
	return id, nil
}
