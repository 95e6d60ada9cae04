package agent

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/wholefile"
)

// secretsEvery is how often secrets are read: a value that has changed is taken when it was read twice, so that a file which is being written counts for nothing.
const secretsEvery = time.Second

// secretKeyBytes is the size of the key of the versions of secrets.
const secretKeyBytes = 32

// secrets reads those that the desired chain names, again and again. Its methods may be used concurrently.
type secrets struct {
	sources  secretSources
	redactor *redactor
	// key makes versions of values, which only this node can compare.
	key []byte
	// changed receives after what is known of a secret has changed.
	changed chan struct{}
	wake    chan struct{}
	// came receives after the distributor has sent secrets.
	came <-chan struct{}

	mu    sync.Mutex
	known map[model.SecretRef]secretState // what is wanted, and no other
	turn  int                             // raised with every change of known
}

func newSecrets(config Config, redactor *redactor, keyFile string, inbox *inbox) (*secrets, error) {
	key, err := secretKey(keyFile)
	if err != nil {
		return nil, err
	}
	return &secrets{
		sources: secretSources{dirs: config.SecretDirs, prefixes: config.SecretEnv, lookUp: os.LookupEnv, kept: inbox.keptSecret}, came: inbox.secretsCame,
		redactor: redactor, key: key, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), known: map[model.SecretRef]secretState{},
	}, nil
}

// secretKey reads the key at path, or makes one. With another one values have other versions, and are put into Envoy once more.
func secretKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == secretKeyBytes {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of the versions of secrets: %w", err)
	}
	key = make([]byte, secretKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key for the versions of secrets: %w", err)
	}
	return key, wholefile.Replace(path, key)
}

// version tells one value of a secret from another, and nothing else of it to anybody who has not got the key.
func (s *secrets) version(ref model.SecretRef, value string) string {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "%s\x00%s", ref, value)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// want says which chain's secrets are to be read; nil: none.
func (s *secrets) want(c *chain) {
	wanted := map[model.SecretRef]bool{}
	if c != nil {
		for _, f := range c.Filters {
			uses, _ := model.Secrets(f.Config) // fill says what is wrong
			for _, use := range uses {
				wanted[use.Ref] = true
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(ref model.SecretRef, _ secretState) bool { return !wanted[ref] })
	for ref := range wanted {
		if _, there := s.known[ref]; !there && len(s.known) < model.MaxChainSecrets {
			s.known[ref] = secretState{}
			notify(s.wake)
		}
	}
}

// run reads until ctx ends.
func (s *secrets) run(ctx context.Context) {
	ticker := time.NewTicker(secretsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.readAll(false)
		case <-s.wake:
			s.readAll(true)
		case <-s.came:
			s.readAll(true)
		}
	}
}

// readAll reads every secret, or only those of which nothing is known.
func (s *secrets) readAll(fresh bool) {
	s.mu.Lock()
	wanted := maps.Clone(s.known)
	s.mu.Unlock()
	if fresh {
		maps.DeleteFunc(wanted, func(_ model.SecretRef, state secretState) bool { return state != secretState{} })
	}
	for ref := range wanted {
		value, err := s.sources.read(ref)
		if errors.Is(err, errAwaited) {
			continue // what is known of it stays: a value of a version never changes
		}
		if err == nil {
			s.redactor.learn(ref, value) // before anybody can say it
		}
		s.mu.Lock()
		if old, still := s.known[ref]; still {
			if next := old.observe(value, err); next != old {
				s.known[ref] = next
				s.turn++
				notify(s.changed)
			}
		}
		s.mu.Unlock()
	}
}

// all is what is known now, and a number that is another when that has changed. It is not changed.
func (s *secrets) all() (map[model.SecretRef]secretState, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.known), s.turn
}

// secretState is what is known of one secret. The zero value: nothing yet.
type secretState struct {
	// value is the last that counts; empty: there is none.
	value string
	// trouble says why there is none, or none that is newer; empty: there is no trouble.
	trouble string
	// next and nextTrouble are what was read last, where that does not count yet.
	next, nextTrouble string
}

// observe takes what was read. Whatever replaces something must be read twice; a first value counts at once.
func (s secretState) observe(value string, err error) secretState {
	switch {
	case err != nil && s.nextTrouble == "" && s.trouble == "":
		return secretState{value: s.value, nextTrouble: err.Error()}
	case err != nil:
		return secretState{value: s.value, trouble: err.Error()}
	case value == s.value, s.value == "", value == s.next:
		return secretState{value: value}
	}
	return secretState{value: s.value, trouble: s.trouble, next: value}
}
