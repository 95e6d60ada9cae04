package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/sealed"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

const (
	// evidencePath is where a distributor has dossiers.
	evidencePath = "/trust/"
	// dossierTimeout bounds the fetching of one.
	dossierTimeout = 30 * time.Second
)

// dossiers keeps what decisions rest on: on disk, so that a node decides after a restart while the distributor is away; and in memory. The
// distributor is the courier: what it brings is about the artifact that was asked for, or it is not taken. It may be used concurrently.
type dossiers struct {
	dir    string
	base   string
	client *http.Client
	log    *slog.Logger

	mu sync.Mutex
	filed
	// era in which each was asked for; see setEra.
	eras map[string]string
	era  string
	// version rises with each change.
	version int
}

func newDossiers(config Config, dir string) (*dossiers, error) {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("agent: the default transport is not of package net/http")
	}
	transport = transport.Clone()
	scheme := "https"
	if config.Insecure {
		scheme = "http"
	} else if config.TLS != nil {
		transport.Proxy = nil // the dialler asks for one
		transport.DialTLSContext = certfile.DialTLS(config.TLS)
	}
	return &dossiers{
		dir: dir, base: (&url.URL{Scheme: scheme, Host: config.Modules, Path: evidencePath}).String(), log: config.Log,
		// What another host says was not asked for.
		client: &http.Client{Transport: transport, Timeout: dossierTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		filed:  filed{artifacts: map[string]trust.Dossier{}, releases: map[string]trust.ReleaseDossier{}, descriptors: map[string]*descriptors.Set{}}, eras: map[string]string{},
	}, nil
}

// setEra begins a new era: what is fetched from then on may tell more than what is here, since a policy has changed or somebody has asked to try again.
func (d *dossiers) setEra(era string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.era = era
}

// old are those of some names that were not asked for in this era.
func (d *dossiers) old(names []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var old []string
	for _, name := range names {
		if d.eras[name] != d.era {
			old = append(old, name)
		}
	}
	return old
}

// all is what there is, and which version of it.
func (d *dossiers) all() (filed, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return filed{artifacts: maps.Clone(d.artifacts), releases: maps.Clone(d.releases), descriptors: maps.Clone(d.descriptors)}, d.version
}

// keep forgets all others, on the disk, too.
func (d *dossiers) keep(names map[string]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	unwanted := func(name string) bool { _, wanted := names[name]; return !wanted }
	maps.DeleteFunc(d.artifacts, func(name string, _ trust.Dossier) bool { return unwanted(name) })
	maps.DeleteFunc(d.releases, func(name string, _ trust.ReleaseDossier) bool { return unwanted(name) })
	maps.DeleteFunc(d.descriptors, func(name string, _ *descriptors.Set) bool { return unwanted(name) })
	maps.DeleteFunc(d.eras, func(name, _ string) bool { return unwanted(name) })
	files := map[string]bool{}
	for name := range names {
		base := filepath.Base(d.path(name))
		files[base], files[base+sealed.PreviousSuffix] = true, true
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return // nothing to remove
	}
	for _, entry := range entries {
		if !files[entry.Name()] {
			_ = os.Remove(filepath.Join(d.dir, entry.Name())) // tried again next time
		}
	}
}

func (d *dossiers) path(name string) string {
	return filepath.Join(d.dir, registry.DigestOf([]byte(name)).Hex()+".json")
}

// fetch has one here: from the disk the first time, from the distributor when it is not there, or when it is asked for again. It is a fetcher's.
func (d *dossiers) fetch(ctx context.Context, name string, _ int64) error {
	d.mu.Lock()
	there, era := d.has(name), d.era
	d.mu.Unlock()
	if !there && d.takeKept(name) {
		return nil
	}
	text, err := d.ask(ctx, name)
	if err != nil {
		return err
	}
	return d.take(name, text, era, true)
}

// takeKept takes one from the disk, where it is whole. A damaged one is passed over for the copy before it, which takes its place.
func (d *dossiers) takeKept(name string) bool {
	path := d.path(name)
	var text json.RawMessage
	from, err := readSealed(path, &text)
	if from == "" && err != nil {
		// An agent before this one kept it without a checksum.
		if text, err = readBounded(path); err == nil {
			from = path
		}
	}
	if from == "" && err == nil {
		return false // there is none
	}
	if err == nil {
		err = d.take(name, text, "", from != path)
	}
	if err != nil {
		d.log.Warn("what was kept of signatures cannot be used, and is fetched again", "of", name, "file", path, "error", err)
		return false
	}
	if from != path {
		d.log.Warn("what was kept of signatures is damaged; the copy before it is used", "of", name, "file", path)
	}
	return true
}

func (d *dossiers) ask(ctx context.Context, name string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+name, nil)
	if err != nil {
		return nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // read only
	if response.StatusCode != http.StatusOK {
		const said = 200
		text, _ := io.ReadAll(io.LimitReader(response.Body, said))
		return nil, fmt.Errorf("the distributor gives no signatures of %s: %s: %s", name, response.Status, strings.TrimSpace(string(text)))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, trust.MaxDossierBytes+1))
	if err != nil {
		return nil, fmt.Errorf("signatures of %s: %w", name, err)
	}
	return text, nil
}

// take checks that a text is a dossier of that name, adds to it what was there before, and keeps it on disk where it is not there already.
func (d *dossiers) take(name string, text []byte, era string, keep bool) error {
	_, of, _ := strings.Cut(name, "/")
	if strings.HasPrefix(name, releaseName("")) {
		fresh, err := trust.ParseReleaseDossier(text)
		if err != nil {
			return err
		}
		id, err := model.ParseReleaseRef(of)
		if err != nil {
			return err
		}
		if have := model.Digest(fresh.Canonical); have != id.Hash {
			return fmt.Errorf("the distributor gives signatures of another release, %s, for %s", have, of)
		}
		return d.put(name, era, keep, func() (any, func()) {
			fresh.Evidence = withEarlier(fresh.Evidence, d.releases[name].Evidence)
			return fresh, func() { d.releases[name] = fresh }
		})
	}
	if strings.HasPrefix(name, descriptorsName("")) {
		var content []byte
		if err := json.Unmarshal(text, &content); err != nil {
			return fmt.Errorf("the distributor gives something else than descriptors for %s: %w", name, err)
		}
		if have := model.Digest(content); have != of {
			return fmt.Errorf("the distributor gives other descriptors, %s, for %s", have, of)
		}
		set, err := descriptors.Parse(content)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return d.put(name, era, keep, func() (any, func()) { return content, func() { d.descriptors[name] = set } })
	}
	fresh, err := trust.ParseDossier(text)
	if err != nil {
		return err
	}
	if have := registry.DigestOf(fresh.Manifest); string(have) != of {
		return fmt.Errorf("the distributor gives signatures of another artifact, %s, for %s", have, of)
	}
	return d.put(name, era, keep, func() (any, func()) {
		fresh.Evidence = withEarlier(fresh.Evidence, d.artifacts[name].Evidence)
		return fresh, func() { d.artifacts[name] = fresh }
	})
}

// withEarlier keeps what was seen once: a signature does not become wrong by being left out.
func withEarlier(evidence, earlier []signing.Evidence) []signing.Evidence {
	return trust.With(evidence, earlier)
}

// put has what make gives set, and before, where it is to be kept, written to the disk.
func (d *dossiers) put(name, era string, keep bool, make func() (content any, set func())) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	content, set := make()
	if keep {
		if err := writeSealed(d.path(name), content); err != nil {
			return err
		}
	}
	set()
	d.eras[name] = era
	d.version++
	return nil
}
