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
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of a file of keys.
const (
	maxKeys = 16
	// maxFile is its size in bytes: that many keys, with a word about each.
	maxFile = 16 << 10
)

// Keyring is a file of keys. It may be used concurrently. A nil one has no keys.
//
// The file is read anew when it has changed. One that cannot be read, because it is being written, say, or its volume is away, takes nothing away: the keys that were read last go on.
type Keyring struct {
	path string
	log  *slog.Logger

	mu sync.Mutex
	// keys are those of the file as it was when seen says; none: it was never read.
	keys []Key
	seen seen
	// failed is why the file could not be read the last time, and missing are the keys that were not in it; each is said once.
	failed  string
	missing map[string]bool
}

// seen tells whether a file has changed.
type seen struct {
	at   time.Time
	size int64
	info os.FileInfo
}

// OpenKeyring reads a file of keys, and warns where others may read it. What goes wrong later it tells the log, with the file's path, which is in no error but this function's.
// A nil log is told nothing. Errors are *model.Error.
func OpenKeyring(path string, log *slog.Logger) (*Keyring, error) {
	k := AwaitKeyring(path, log)
	k.mu.Lock()
	defer k.mu.Unlock()
	if why := k.load(); why != "" {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: k.path, Message: "the keys of secrets cannot be read: " + why, Next: nextKeys}
	}
	if mode := k.seen.info.Mode().Perm(); mode&othersMay != 0 {
		k.log.Warn("others on this machine may read or change the keys of secrets; take that away (chmod 600)", "file", path, "mode", mode.String())
	}
	return k, nil
}

// AwaitKeyring is OpenKeyring for a file that may come later: until then there are no keys.
func AwaitKeyring(path string, log *slog.Logger) *Keyring {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Keyring{path: path, log: log, missing: map[string]bool{}}
}

// othersMay are the bits of a file's mode by which those may read or write it who are neither its owner nor in its group; a mounted secret is often its group's.
const othersMay = 0o006

const nextKeys = "one key a line, 32 bytes in base64; the first seals, all open"

// MakeKeyring makes a file of one new key, where there is no file, and opens it. An error wraps fs.ErrExist where there is one.
func MakeKeyring(path string, log *slog.Logger) (*Keyring, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key for secrets: %w", err)
	}
	text := "# Keys of the secrets that this distributor keeps; without them nobody reads those again. The first seals, all open.\n" +
		base64.StdEncoding.EncodeToString(key) + "\n"
	if err := create(path, []byte(text)); err != nil {
		return nil, fmt.Errorf("write the key of secrets: %w", err)
	}
	return OpenKeyring(path, log)
}

// create writes a file that must not be there yet, and flushes it.
func create(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path)) // it has sealed nothing yet
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// errNoKeys is what a distributor without keys says.
func errNoKeys() error {
	return &model.Error{Kind: model.ErrPrecondition, Object: "waft serve", Message: "it has no key for secrets",
		Next: "give it a file with one (--secret-key), the same at all replicas"}
}

// read gives the keys as the file has them now, or had them when it could be read last.
func (k *Keyring) read() ([]Key, error) {
	if k == nil {
		return nil, errNoKeys()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	why := k.load()
	switch {
	case why == k.failed:
	case why == "":
		k.log.Info("the keys of secrets can be read again", "file", k.path)
	case k.keys == nil:
		k.log.Error("the keys of secrets cannot be read, and there are none", "file", k.path, "error", why)
	default:
		k.log.Error("the keys of secrets cannot be read; those that were read before go on", "file", k.path, "error", why)
	}
	k.failed = why
	if k.keys == nil {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: "waft serve", Message: "its file of the keys of secrets cannot be read", Next: "see its log for which file that is, and why"}
	}
	return k.keys, nil
}

// load reads the file where it has changed, or says why it cannot, in words that have neither its path nor any of its content; mu is held.
func (k *Keyring) load() (why string) {
	info, err := os.Stat(k.path)
	if err != nil {
		return reason(err)
	}
	if k.keys != nil && info.ModTime().Equal(k.seen.at) && info.Size() == k.seen.size && os.SameFile(info, k.seen.info) {
		return ""
	}
	file, err := os.Open(k.path)
	if err != nil {
		return reason(err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return reason(err)
	}
	keys, why := parse(text)
	if why != "" {
		return why
	}
	k.keys, k.seen, k.missing = keys, seen{info.ModTime(), info.Size(), info}, map[string]bool{}
	return ""
}

// miss tells the log of a key that is not in the file, once for each that there is of it.
func (k *Keyring) miss(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.missing[id] {
		k.missing[id] = true
		k.log.Error("secrets are sealed with a key that is not in the file; add it there", "key", id, "file", k.path)
	}
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
	needed := hex.EncodeToString(id[:])
	k.miss(needed)
	return nil, &model.Error{Kind: model.ErrPrecondition, Object: of.String(),
		Message: fmt.Sprintf("it is sealed with the key %s, and this distributor has %s", needed, strings.Join(have, ", ")),
		Next:    "add that key to its file of keys, which its log names, or set the secret anew (waft secret set)"}
}

func damaged(of model.SecretRef, err error) error {
	return &model.Error{Kind: model.ErrPrecondition, Object: of.String(), Message: "its value is damaged in the store: " + err.Error(), Next: "set the secret anew (waft secret set), or restore a backup"}
}
