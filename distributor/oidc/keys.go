package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Limits of what is asked of an issuer.
const (
	// keysFor is how long keys count without being asked for again: a key that an issuer has withdrawn is gone after that.
	keysFor = 5 * time.Minute
	// staleFor is how long they count when the issuer does not answer.
	staleFor = time.Hour
	// askEvery is how often an issuer is asked at most.
	askEvery = 10 * time.Second
	// fetchTimeout bounds one fetch, and maxAnswerBytes and maxKeys what it may bring.
	fetchTimeout   = 5 * time.Second
	maxAnswerBytes = 1 << 20
	maxKeys        = 100
)

// keySet is what an issuer publishes. It may be used concurrently.
type keySet struct {
	issuer, url string
	client      *http.Client
	now         func() time.Time

	mu sync.Mutex
	// keys are those of fetched; err is why the last attempt, at asked, failed.
	keys           []jose.JSONWebKey
	fetched, asked time.Time
	err            error
	// asking is closed when the attempt that is under way has ended; nil while there is none.
	asking chan struct{}
}

// find gives the keys that a signature may be by: those with the id, or all where it has none. Whoever finds theirs does not wait for others.
func (s *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	found := s.named(id)
	if now.Sub(s.fetched) > keysFor || len(found) == 0 {
		if s.asking == nil && now.Sub(s.asked) > askEvery {
			s.asked, s.asking = now, make(chan struct{})
			go s.ask(context.WithoutCancel(ctx), now) // whoever asked first may go while others wait
		}
		if asking := s.asking; asking != nil {
			s.mu.Unlock()
			select {
			case <-asking:
			case <-ctx.Done():
			}
			s.mu.Lock()
		}
		found = s.named(id)
	}
	if s.fetched.IsZero() || now.Sub(s.fetched) > staleFor {
		if s.err == nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.err)
	}
	return found, nil
}

// ask fetches the keys, and tells those who wait.
func (s *keySet) ask(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if err == nil {
		s.keys, s.fetched = keys, now
	}
	close(s.asking)
	s.asking = nil
}

func (s *keySet) named(id string) []jose.JSONWebKey {
	if id == "" {
		return s.keys
	}
	var found []jose.JSONWebKey
	for _, k := range s.keys {
		if k.KeyID == id {
			found = append(found, k)
		}
	}
	return found
}

func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	url := s.url
	if url == "" {
		// OpenID Connect Discovery 1.0, section 4.
		var told struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		at := strings.TrimSuffix(s.issuer, "/") + "/.well-known/openid-configuration"
		if err := s.get(ctx, at, &told); err != nil {
			return nil, err
		}
		if told.Issuer != s.issuer {
			return nil, fmt.Errorf("%s is about the issuer %.200q", at, told.Issuer)
		}
		if err := CheckURL(told.JWKS); err != nil {
			return nil, fmt.Errorf("%s: jwks_uri: %w", at, err)
		}
		url = told.JWKS
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, url, &set); err != nil {
		return nil, err
	}
	keys := publicKeys(set.Keys)
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no public key", url)
	}
	return keys, nil
}

// publicKeys are those of a set that signatures can be verified with.
func publicKeys(set []json.RawMessage) []jose.JSONWebKey {
	var keys []jose.JSONWebKey
	for _, text := range set {
		var k jose.JSONWebKey
		if json.Unmarshal(text, &k) != nil {
			continue // of a kind that is not known here (RFC 7517, section 5)
		}
		// A key for encryption, or one that is secret, signs nothing here.
		if k.Use != "enc" && k.Valid() && k.IsPublic() && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	return keys
}

func (s *keySet) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err == nil && len(text) > maxAnswerBytes {
		err = errors.New("the answer is too long")
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}
