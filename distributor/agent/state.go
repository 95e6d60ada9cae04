package agent

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// Names in Config.StateDir.
const (
	stateFile     = "state.json"
	verdictsFile  = "verdicts.json"
	lockFile      = "lock"
	modulesFolder = "modules"
	slotsFolder   = "slots"
	envoyFolder   = "envoy"
	trustFolder   = "trust"
	keptFolder    = "good"
	secretKeyFile = "secrets.key"
	bodiesFolder  = "bodies"
	reserveFile   = "reserve"
	// resourcesFolder is Config.ResourcesDir where that is not said.
	resourcesFolder = "resources"
)

// ErrLocked means that another agent runs on the same state.
var ErrLocked = errors.New("another agent uses this state folder")

// record is what the agent must not forget. Chains in it are never changed, only replaced.
type record struct {
	// Held are the resources that were accepted (ACK), by collection, as they came: istio.mcp.v1alpha1.Resource.
	Held map[string][][]byte `json:"held,omitempty"`
	// Resources are those of all other collections that were accepted, by collection; their messages are files of bodies.
	Resources map[string][]heldResource `json:"resources,omitempty"`
	// Generation is the highest of a chain that was seen.
	Generation int64 `json:"generation,omitempty"`
	// Desired is the last complete chain that the node was given.
	Desired *chain `json:"desired,omitempty"`
	// Good is last-known-good; Before is the one before it, whose modules a rollback needs.
	Good   *chain `json:"good,omitempty"`
	Before *chain `json:"before,omitempty"`
	// TakenBack: the node was taken back from Before to Good, which had been good before it.
	TakenBack bool `json:"takenBack,omitempty"`
	// Trial serves, proved, and is not good yet; Proved is when it was proved. Zero: not known, as with an agent before this one.
	Trial  *chain    `json:"trial,omitempty"`
	Proved time.Time `json:"proved,omitzero"`
	// ProvedIn is since when the Envoy ran that it was proved in, by its own word; see lives. Zero: not known, or the agent's own child.
	ProvedIn time.Time `json:"provedIn,omitzero"`
	// Attempt is the chain that Envoy is given now; nil: it is given none.
	Attempt *attempt `json:"attempt,omitempty"`
	// Lapsed is of the chain that lapsed last; nil: none has, or it has become good since.
	Lapsed *lapsed `json:"lapsed,omitempty"`
	// Baseline is what Envoy took before the chain that serves was loaded; nil: not known.
	Baseline *baseline `json:"baseline,omitempty"`
	// Slots names the filters that have a slot of their own, in an Envoy before 1.39; nil: they are not known yet. An Envoy may have none.
	Slots []string `json:"slots,omitzero"`
	// Retry is the last value of ReportResponse.retry that was acted on.
	Retry int64 `json:"retry,omitempty"`
}

// stateFolder is Config.StateDir, locked.
type stateFolder struct {
	dir  string
	lock *os.File

	mu     sync.Mutex
	record record
}

// openState makes, locks and reads the state folder. damaged says what could not be read and was passed over.
func openState(dir string) (state *stateFolder, damaged error, err error) {
	for _, sub := range []string{"", modulesFolder, slotsFolder, envoyFolder, trustFolder, keptFolder, bodiesFolder} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, nil, fmt.Errorf("make the state folder: %w", err)
		}
	}
	// Whoever can write here owns the filters.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("close the state folder to others: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, nil, fmt.Errorf("%w: %s (%w); stop it, or name another folder", ErrLocked, dir, err)
	}
	s := &stateFolder{dir: dir, lock: lock}
	from, damaged := readSealed(s.path(stateFile), &s.record)
	if from != "" && damaged == nil && from != s.path(stateFile) {
		damaged = fmt.Errorf("%s is gone; %s is used", s.path(stateFile), from)
	}
	return s, damaged, nil
}

func (s *stateFolder) path(name string) string { return filepath.Join(s.dir, name) }

// close gives the lock back, in so many words: a program that is being started meanwhile has this file, too, until it is there, and would keep the lock.
func (s *stateFolder) close() error {
	return errors.Join(syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
}

// read returns the record; treat it as read-only.
func (s *stateFolder) read() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// change writes a changed record to disk, and only then takes it.
func (s *stateFolder) change(change func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.record
	next.Held = maps.Clone(s.record.Held)
	next.Resources = maps.Clone(s.record.Resources)
	change(&next)
	if err := writeSealed(s.path(stateFile), next); err != nil {
		return fmt.Errorf("keep the agent's state: %w", err)
	}
	s.record = next
	return nil
}

// pack and unpack are resources on their way to and from the record.
func pack(resources []*mcpv1.Resource) ([][]byte, error) {
	packed := make([][]byte, 0, len(resources))
	for _, r := range resources {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("keep resource %s: %w", r.GetMetadata().GetName(), err)
		}
		packed = append(packed, raw)
	}
	return packed, nil
}

func unpack(packed [][]byte) ([]*mcpv1.Resource, error) {
	resources := make([]*mcpv1.Resource, 0, len(packed))
	for _, raw := range packed {
		r := new(mcpv1.Resource)
		if err := proto.Unmarshal(raw, r); err != nil {
			return nil, fmt.Errorf("read a resource that was kept: %w", err)
		}
		resources = append(resources, r)
	}
	return resources, nil
}
