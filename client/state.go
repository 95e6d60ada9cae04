package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protodelim"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/sealed"
	"github.com/waft-project/waft/wholefile"
)

// Names in Config.StateDir.
const (
	recordFile      = "state.json"
	lockFile        = "lock"
	snapshotsFolder = "snapshots"
)

// ErrLocked means that another client runs on the same state folder.
var ErrLocked = errors.New("another client uses this state folder")

// record is what a client must not forget. What it points to is never changed, only replaced.
type record struct {
	// Open: a client runs, or has ended without Close.
	Open bool `json:"open,omitempty"`
	// Version is that of the application whose client it is.
	Version string `json:"version,omitempty"`
	// Generation is the highest of a chain that was seen.
	Generation int64 `json:"generation,omitempty"`
	// Good is last-known-good, Before the one before it; neither need be of use to the application as it is now. Trial is served, and not good yet.
	Good   *kept `json:"good,omitempty"`
	Before *kept `json:"before,omitempty"`
	Trial  *kept `json:"trial,omitempty"`
	// Refused is a chain in whose trial the application ended.
	Refused *refusal `json:"refused,omitempty"`
	// Retry is the last value of ReportResponse.retry that was acted on.
	Retry int64 `json:"retry,omitempty"`
}

// kept is a snapshot on disk.
type kept struct {
	Hash       string `json:"hash"`
	Generation int64  `json:"generation"`
	// Digest of its file, which is named by it.
	Digest string `json:"digest"`
	// Version of the application that ran with it last, and Takes, which collections that took: see Config.taken. Empty: a client did that did not note it.
	Version string `json:"version,omitempty"`
	Takes   string `json:"takes,omitempty"`
}

// of is the same, as another application has it.
func (k *kept) of(cfg Config) *kept {
	next := *k
	if next.Version, next.Takes = cfg.Version, cfg.taken(); next == *k {
		return k
	}
	return &next
}

// ran says whether the application that has a snapshot of next's chain ran with that chain last; nil is none. One that takes other collections is another application, and so
// is one of another version.
func (k *kept) ran(next *kept) bool {
	return k != nil && k.Hash == next.Hash && k.Version == next.Version && k.Takes == next.Takes
}

// refusal is a chain that is not taken, as it was given once.
type refusal struct {
	Hash       string `json:"hash"`
	Generation int64  `json:"generation"`
	// Version of the application that says so, and which collections that takes (empty: it was not noted); another one is asked anew.
	Version string `json:"version,omitempty"`
	Takes   string `json:"takes,omitempty"`
	Step    string `json:"step"`
	Reason  string `json:"reason"`
}

// by says whether it is this application that refuses.
func (r *refusal) by(cfg Config) bool {
	return r.Version == cfg.Version && (r.Takes == "" || r.Takes == cfg.taken())
}

// stateFolder is Config.StateDir, locked. Its methods may be called concurrently, but put and sweep, which one goroutine calls.
type stateFolder struct {
	dir  string
	lock io.Closer

	mu     sync.Mutex
	record record
	// unwritten: a write has failed since the last that did not, and the disk may have another record.
	unwritten bool
}

// openState makes, locks and reads the folder. damaged says what could not be read and was passed over.
func openState(dir string) (s *stateFolder, damaged, err error) {
	if err := os.MkdirAll(filepath.Join(dir, snapshotsFolder), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := lockFolder(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, nil, err
	}
	s = &stateFolder{dir: dir, lock: lock}
	_, damaged, err = sealed.Read(filepath.Join(dir, recordFile), maxFileBytes, &s.record)
	if err != nil {
		return nil, damaged, errors.Join(fmt.Errorf("the record of what was last-known-good may be whole, and is not written over; make it readable, or remove it: %w", err), lock.Close())
	}
	return s, damaged, nil
}

// close gives the lock back.
func (s *stateFolder) close() error { return s.lock.Close() }

// read is the record; what it points to is read-only.
func (s *stateFolder) read() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// change writes a changed record to disk, and only then takes it. Nothing is written when nothing changes.
func (s *stateFolder) change(change func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.record
	change(&next)
	if err := s.write(next); err != nil {
		return err
	}
	s.record = next
	return nil
}

// note takes a changed record at once, and writes it to disk. One that the disk does not take is written by the next change or note.
func (s *stateFolder) note(change func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.record
	change(&next)
	err := s.write(next)
	s.record = next
	return err
}

// write has a record on disk; mu is held.
func (s *stateFolder) write(r record) error {
	if r == s.record && !s.unwritten {
		return nil
	}
	err := sealed.Write(filepath.Join(s.dir, recordFile), maxFileBytes, r)
	if s.unwritten = err != nil; s.unwritten {
		return fmt.Errorf("keep the client's state: %w", err)
	}
	return nil
}

func (s *stateFolder) snapshotPath(digest string) string {
	return filepath.Join(s.dir, snapshotsFolder, strings.TrimPrefix(digest, "sha256:"))
}

// put writes a snapshot to disk; raw is the chain as it came.
func (s *stateFolder) put(raw *mcpv1.Resource, snapshot *Snapshot) (*kept, error) {
	content, err := encodeSnapshot(raw, snapshot)
	if err != nil {
		return nil, err
	}
	k := &kept{Hash: snapshot.hash, Generation: snapshot.generation, Digest: model.Digest(content)}
	if _, err := s.content(k); err == nil {
		return k, nil // it is there
	}
	return k, wholefile.Replace(s.snapshotPath(k.Digest), content)
}

// encodeSnapshot is the file of a snapshot: its chain, as it came, and each of its collections.
func encodeSnapshot(raw *mcpv1.Resource, snapshot *Snapshot) ([]byte, error) {
	var content bytes.Buffer
	messages := []*mcpv1.Resources{{Collection: model.CollectionChains, Resources: []*mcpv1.Resource{raw}}}
	for _, collection := range slices.Sorted(maps.Keys(snapshot.sets)) {
		one := &mcpv1.Resources{Collection: collection}
		for _, name := range snapshot.names(collection) {
			one.Resources = append(one.Resources, snapshot.sets[collection][name].resource)
		}
		messages = append(messages, one)
	}
	for _, message := range messages {
		if _, err := protodelim.MarshalTo(&content, message); err != nil {
			return nil, fmt.Errorf("keep chain %s: %w", snapshot.hash, err)
		}
	}
	return content.Bytes(), nil
}

// content is the file of a snapshot, verified.
func (s *stateFolder) content(k *kept) ([]byte, error) {
	if err := model.ValidateDigest("chain "+k.Hash, "digest", k.Digest); err != nil { // it becomes part of a path
		return nil, fmt.Errorf("%w: %w", sealed.ErrTorn, err)
	}
	content, err := sealed.ReadFile(s.snapshotPath(k.Digest), maxFileBytes)
	if err != nil {
		return nil, err
	}
	if have := model.Digest(content); have != k.Digest {
		return nil, fmt.Errorf("%w: %s has the digest %s", sealed.ErrTorn, s.snapshotPath(k.Digest), have)
	}
	return content, nil
}

// get reads a snapshot of the collections that are taken now, whole, and the chain as it came.
func (s *stateFolder) get(k *kept, subs []Subscription) (*Snapshot, *mcpv1.Resource, error) {
	content, err := s.content(k)
	if err != nil {
		return nil, nil, err
	}
	return decodeSnapshot(k.Hash, content, subs)
}

// decodeSnapshot reads what encodeSnapshot wrote of the chain of that hash.
func decodeSnapshot(hash string, content []byte, subs []Subscription) (*Snapshot, *mcpv1.Resource, error) {
	o := offer{sets: map[string]set{}, broken: map[string]map[versioned]string{}}
	taken := map[string]Subscription{}
	names := make([]string, 0, len(subs))
	for _, sub := range subs {
		taken[sub.Name()], names = sub, append(names, sub.Name())
	}
	reader := bytes.NewReader(content)
	for {
		var one mcpv1.Resources
		if err := (protodelim.UnmarshalOptions{MaxSize: int64(len(content))}).UnmarshalFrom(reader, &one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("read chain %s: %w", hash, err)
		}
		if sub, ok := taken[one.GetCollection()]; ok {
			o.sets[one.GetCollection()], o.broken[one.GetCollection()] = decodeSet(sub, one.GetResources(), nil)
		} else if one.GetCollection() == model.CollectionChains && len(one.GetResources()) == 1 {
			o.raw, o.chain = one.GetResources()[0], new(waftv1.Chain)
			if err := mcp.Body(o.raw, o.chain); err != nil {
				return nil, nil, fmt.Errorf("read chain %s: %w", hash, err)
			}
		}
	}
	if o.chain == nil || o.chain.GetHash() != hash {
		return nil, nil, fmt.Errorf("%w: it holds chain %q, not %s", sealed.ErrTorn, o.chain.GetHash(), hash)
	}
	if err := checkChain(o.chain); err != nil { // by the rules of the version that took it, it was whole
		return nil, nil, fmt.Errorf("read chain %s: %w", hash, err)
	}
	switch a := assemble(o, names); {
	case a.refused != "":
		return nil, nil, fmt.Errorf("chain %s: %s", hash, a.refused)
	case len(a.missing) > 0:
		return nil, nil, fmt.Errorf("chain %s was kept without %s, which was not taken then", hash, strings.Join(a.missing, ", "))
	default:
		return a.complete, o.raw, nil
	}
}

// sweep removes snapshots that the record does not name, and files that were never finished. It must not be called during put.
func (s *stateFolder) sweep() error {
	s.mu.Lock() // what is being written to is not finished yet
	defer s.mu.Unlock()
	r := s.record
	needed := map[string]bool{}
	for _, k := range []*kept{r.Good, r.Before, r.Trial} {
		if k != nil {
			needed[filepath.Base(s.snapshotPath(k.Digest))] = true
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, snapshotsFolder))
	for _, entry := range entries {
		if !needed[entry.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, snapshotsFolder, entry.Name())))
		}
	}
	left, globErr := wholefile.Unfinished(s.dir)
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, globErr)
}
