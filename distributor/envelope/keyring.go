package envelope

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/wholefile"
)

// Limits of a file of keys.
const (
	maxKeys = 16
	// maxFile is its size in bytes: that many keys, with a word about each.
	maxFile = 16 << 10
)

// Keyring is a file of keys. It may be used concurrently. A nil one has no keys.
type Keyring struct {
	path string

	mu sync.Mutex
	// keys are those of the file as it was when seen says.
	keys []Key
	seen seen
}

// seen tells whether a file has changed.
type seen struct {
	at   time.Time
	size int64
	info os.FileInfo
}

// OpenKeyring reads a file of keys. Errors are *model.Error.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	_, err := k.read()
	return k, err
}

// MakeKeyring is OpenKeyring for a file that is made, with one new key, where there is none; made says so.
func MakeKeyring(path string) (k *Keyring, made bool, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, keyBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, false, fmt.Errorf("make a key for secrets: %w", err)
		}
		text := "# Keys of the secrets that this distributor keeps; without them nobody reads those again. The first seals, all open.\n" +
			base64.StdEncoding.EncodeToString(key) + "\n"
		if err := wholefile.Replace(path, []byte(text)); err != nil {
			return nil, false, fmt.Errorf("write the key of secrets: %w", err)
		}
		made = true
	}
	k, err = OpenKeyring(path)
	return k, made, err
}

// errNoKeys is what a distributor without keys says.
func errNoKeys() error {
	return &model.Error{Kind: model.ErrPrecondition, Object: "waft serve", Message: "it has no key for secrets",
		Next: "give it a file with one (--secret-key), the same at all replicas"}
}

// read gives the keys as the file has them now.
func (k *Keyring) read() ([]Key, error) {
	if k == nil {
		return nil, errNoKeys()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := func(why string) error {
		return &model.Error{Kind: model.ErrPrecondition, Object: k.path, Message: "the keys of secrets cannot be read: " + why,
			Next: "one key a line, 32 bytes in base64; the first seals, all open"}
	}
	info, err := os.Stat(k.path)
	if err != nil {
		return nil, failed(reason(err))
	}
	if k.keys != nil && info.ModTime().Equal(k.seen.at) && info.Size() == k.seen.size && os.SameFile(info, k.seen.info) {
		return k.keys, nil
	}
	file, err := os.Open(k.path)
	if err != nil {
		return nil, failed(reason(err))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, failed(reason(err))
	}
	keys, why := parse(text)
	if why != "" {
		return nil, failed(why)
	}
	k.keys, k.seen = keys, seen{info.ModTime(), info.Size(), info}
	return keys, nil
}

// reason is why, without the path.
func reason(err error) string {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err.Error()
	}
	return err.Error()
}

// parse reads a file of keys, or says why it is none, in words that have none of it.
func parse(text []byte) ([]Key, string) {
	if len(text) > maxFile {
		return nil, fmt.Sprintf("it has more than %d bytes", maxFile)
	}
	var keys []Key
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(raw) != keyBytes {
			return nil, fmt.Sprintf("line %d is not 32 bytes in base64", n)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Sprintf("it has more than %d keys", maxKeys)
		}
		keys = append(keys, Key(raw))
	}
	if len(keys) == 0 {
		return nil, "it has none"
	}
	return keys, ""
}

// First is the id of the key that seals.
func (k *Keyring) First() (string, error) {
	keys, err := k.read()
	if err != nil {
		return "", err
	}
	return keys[0].ID(), nil
}

// Seal encrypts a value with the first key, and names that. Errors are *model.Error.
func (k *Keyring) Seal(of model.SecretRef, value []byte) (sealed []byte, key string, err error) {
	keys, err := k.read()
	if err != nil {
		return nil, "", err
	}
	sealed, err = keys[0].seal(of, value)
	if err != nil {
		return nil, "", fmt.Errorf("seal %s: %w", of, err)
	}
	return sealed, keys[0].ID(), nil
}

// Open decrypts what Seal gave for the very same secret. Errors are *model.Error: ErrPrecondition, naming the key that is needed, where it is not there, or the envelope is damaged.
func (k *Keyring) Open(of model.SecretRef, sealed []byte) ([]byte, error) {
	id, err := keyOf(sealed)
	if err != nil {
		return nil, damaged(of, err)
	}
	keys, err := k.read()
	if err != nil {
		told := &model.Error{Kind: model.ErrPrecondition, Object: of.String(), Cause: err, Message: fmt.Sprintf("it is sealed with the key %s: %v", hex.EncodeToString(id[:]), err)}
		return nil, told
	}
	var have []string
	for _, key := range keys {
		if key.id() != id {
			have = append(have, key.ID())
			continue
		}
		value, err := key.open(of, sealed)
		if err != nil {
			return nil, damaged(of, err)
		}
		return value, nil
	}
	return nil, &model.Error{Kind: model.ErrPrecondition, Object: of.String(),
		Message: fmt.Sprintf("it is sealed with the key %s, and %s has %s", hex.EncodeToString(id[:]), k.path, strings.Join(have, ", ")),
		Next:    "add that key to the file, or set the secret anew (waft secret set)"}
}

func damaged(of model.SecretRef, err error) error {
	return &model.Error{Kind: model.ErrPrecondition, Object: of.String(), Message: "its value is damaged in the store: " + err.Error(), Next: "set the secret anew (waft secret set), or restore a backup"}
}
