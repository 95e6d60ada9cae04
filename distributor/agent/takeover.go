package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/waft-project/waft/envoy"
)

// shape names what an Envoy is started with: the build, its command line, and the flags that its bootstrap is made of. It leaves out
// what is swapped while Envoy runs, and how this version of waft renders bootstraps: an upgrade of the agent alone is no reason to
// start Envoy anew.
func (c Config) shape(version envoy.Version, slots []string) string {
	text, err := json.Marshal(struct {
		Build, Node, Cluster, Admin, Listen, Upstream string
		Args, Slots                                   []string
		DirectResponse                                *envoy.DirectResponse
		Routes                                        []envoy.Route
		Clusters                                      []envoy.Cluster
	}{version.Build, c.Node, c.Cluster, c.Admin, c.Listen, c.Upstream, c.EnvoyArgs, append([]string(nil), slots...), c.DirectResponse, c.Routes, c.Clusters})
	if err != nil {
		return "" // strings and numbers: it cannot be; nothing has this shape
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// takeOver takes over the Envoy that an earlier agent left running, if it has the shape, and ends all others of this state folder:
// two would share the listening port. An empty shape is that of none.
func (h *host) takeOver(shape string) (taken bool, err error) {
	left, err := envoy.Left(h.processConfig(h.config.BootstrapOut), h.passed)
	if err != nil {
		return false, err
	}
	for _, process := range left {
		if !taken && shape != "" && process.Shape() == shape {
			taken = true
			h.inherit(h.attach(process))
			if err := process.RestoreMain(); err != nil {
				h.config.Log.Warn("the main thread of the Envoy that an earlier agent left may give way to its workers for good", "error", err)
			}
			h.config.Log.Info("took over the Envoy that an earlier agent left", "pid", process.PID())
			continue
		}
		h.config.Log.Warn("ending an Envoy that an earlier agent left: it was started with other flags, or has no good chain", "pid", process.PID())
		if err := endLeft(h, process, h.config.Drain); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// passed tells of a process that names the folder of this agent's Envoy and is another's.
func (h *host) passed(pid int, why string) {
	h.config.Log.Warn("a process names the folder of this agent's Envoy and is not that Envoy; it is left alone", "pid", pid, "reason", why)
}

// inherit notes that nobody watched the current life of Envoy from its start.
func (h *host) inherit(epoch int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inherited = epoch
}

func endLeft(h *host, process *envoy.Process, drain time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), max(drain, time.Second))
	defer cancel()
	if admin, err := process.Admin(ctx); err == nil && drain > 0 {
		h.drain(process, admin, drain)
	}
	if err := process.Stop(context.Background()); err != nil {
		return fmt.Errorf("end the Envoy that an earlier agent left (pid %d): %w", process.PID(), err)
	}
	return nil
}

// withdraw puts the good chain back in the place of one that Envoy was not seen to serve, where Envoy goes on without the agent: nobody would
// be there to go back when it fails. What an earlier life of Envoy or of the agent saw serve stays.
func (d *driver) withdraw() {
	if err := d.reserve.try(d.files.emptyPreload); err != nil {
		d.log.Error("the slot for loading cannot be emptied before the agent ends; an Envoy that starts before the next agent does loads what is in it", "error", err)
	}
	r := d.state.read()
	if d.trial == nil || !d.trial.proved.IsZero() || r.Good == nil || d.trial.chain.is(r.Trial) {
		return
	}
	d.log.Info("putting the good chain back before the agent ends; Envoy was not seen to serve the other yet", "chain", d.trial.chain.Hash, "good", r.Good.Hash)
	if err := d.reserve.try(func() error { return d.putSlots(r.Good) }); err != nil {
		d.log.Error("the good chain cannot be put back; Envoy goes on with a chain that it was not seen to serve, until the next agent starts", "error", err)
	}
}

// leave lets go of the child, which runs on.
func (h *host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process != nil {
		h.config.Log.Info("leaving Envoy running", "pid", h.process.PID())
	}
	h.process = nil // its end is no concern of this agent's any more
}

// ErrNoEnvoy means that there is no Envoy to stop.
var ErrNoEnvoy = errors.New("no Envoy runs that an agent has left")

// StopEnvoy drains and ends the Envoy that an agent with LeaveEnvoy left running on a state folder. It returns ErrLocked while an agent
// runs there, and ErrNoEnvoy when there is none to stop.
func StopEnvoy(config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	if _, err := os.Stat(joinState(config, lockFile)); err != nil {
		return fmt.Errorf("%w: %s is not the state folder of an agent: %w", ErrNoEnvoy, config.StateDir, err)
	}
	state, err := readState(config)
	if err != nil {
		return err
	}
	defer func() { _ = state.close() }() // the process's end would give the lock back as well
	h := newHost(config)
	left, err := envoy.Left(h.processConfig(""), h.passed)
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return fmt.Errorf("%w in %s", ErrNoEnvoy, config.StateDir)
	}
	for _, process := range left {
		if err := endLeft(h, process, config.Drain); err != nil {
			return err
		}
	}
	return nil
}
