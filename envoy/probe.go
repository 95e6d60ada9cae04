package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// What the probe grants, by what it loads. Measured: a Go module of 2.6 MB takes 1.5 s and 145 MB in all, a WAF of 30 MB
// 19 s and 610 MB.
const (
	probeCPUBase         = 10 * time.Second
	probeCPUPerMiB       = 2 * time.Second
	probeMemoryBase      = 256 << 20
	probeMemoryPerFilter = 192 << 20 // two VMs of a filter with the default maximum of 64 MiB, and its compiled code
	probeMemoryPerByte   = 16
	// probeWallFactor is how much slower than its own CPU time the probe may be, on a machine that is busy with other things: to those that
	// serve requests it gives way, and gets a tenth of what one of them does.
	probeWallFactor = 12
	// probeWatchInterval is how often time and memory are looked at.
	probeWatchInterval = 25 * time.Millisecond
)

// Limits of a probe. Zero fields mean no limit; DefaultLimits gives good ones.
type Limits struct {
	// CPU is how long Envoy's main thread may compute. A module that loops uses it up however busy the machine is.
	CPU time.Duration
	// Wall is how long the probe may take in all. On a starved machine it ends before CPU does.
	Wall time.Duration
	// Memory is how much resident memory the probe may have, in bytes. It is watched, not enforced by the kernel: V8 reserves far
	// more than it uses, so limits on address space or data kill good modules.
	Memory int64
}

// DefaultLimits are the limits for a chain of so many filters, whose modules have so many bytes in all.
func DefaultLimits(filters int, moduleBytes int64) Limits {
	cpu := probeCPUBase + time.Duration(float64(moduleBytes)/(1<<20)*float64(probeCPUPerMiB))
	return Limits{
		CPU:    cpu,
		Wall:   probeWallFactor * cpu,
		Memory: probeMemoryBase + int64(filters)*probeMemoryPerFilter + probeMemoryPerByte*moduleBytes,
	}
}

// Outcome of a probe.
type Outcome string

// The outcomes.
const (
	// Accepted: Envoy loaded and configured everything.
	Accepted Outcome = "accepted"
	// Rejected: Envoy refused it, or it broke a limit by its own doing. The same build would do so again.
	Rejected Outcome = "rejected"
	// Inconclusive: the probe ended for a reason that need not come again, such as a starved machine or a missing file.
	Inconclusive Outcome = "inconclusive"
)

// Verdict is what a probe found.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	// Reasons in Envoy's or the module's own words, or the limit that was broken. Empty when accepted.
	Reasons []string `json:"reasons,omitempty"`
	// Took is the time on the clock.
	Took time.Duration `json:"took"`
	// CPU is what Envoy's main thread computed, and PeakMemory the most resident memory in bytes, as far as it was seen. Zero where the system does not tell.
	CPU        time.Duration `json:"cpu,omitempty"`
	PeakMemory int64         `json:"peakMemory,omitempty"`
}

// Reason is Reasons on one line.
func (v Verdict) Reason() string { return strings.Join(v.Reasons, "; ") }

// ProbeBootstrap renders the bootstrap with which Validate tries a chain: the filters stand in the listener itself,
// because `envoy --mode validate` reads no ECDS file.
func ProbeBootstrap(number Number, filters []WasmFilter) ([]byte, error) {
	return BootstrapConfig{
		NodeID: "probe", Cluster: "probe", Number: number,
		Inline: true, Default: filters,
		DirectResponse: &DirectResponse{Status: 200},
	}.Render()
}

// Validate runs `envoy --mode validate`: it loads and configures every module of the bootstrap and opens no port. The error says that the probe could not be run, or that ctx
// ended; what it found is in the verdict.
func Validate(ctx context.Context, binary Binary, bootstrap []byte, limits Limits) (Verdict, error) {
	dir, err := os.MkdirTemp("", "waft-probe-*")
	if err != nil {
		return Verdict{}, fmt.Errorf("make a folder for the probe: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no more use, and the verdict counts
	path := filepath.Join(dir, bootstrapFile)
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		return Verdict{}, fmt.Errorf("write the probe's bootstrap: %w", err)
	}

	log := new(Log)
	cmd := exec.Command(binary.Path, "--mode", "validate", "-c", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
	cmd.Stdout, cmd.Stderr = log, log
	started := time.Now()
	probe, err := startChild(cmd)
	if err != nil {
		return Verdict{}, fmt.Errorf("run the probe: %w", err)
	}
	lowerProbe(probe.pid)
	usage, broken, err := watch(ctx, probe, limits)
	if err != nil {
		return Verdict{}, err
	}
	verdict := judge(probe.err, broken, log.Lines())
	verdict.Took, verdict.CPU, verdict.PeakMemory = time.Since(started), usage.cpu, usage.memory
	return verdict, nil
}

// breach is a limit that the probe broke.
type breach struct {
	outcome Outcome
	reason  string
}

// watch waits for the end of the probe and ends it when it breaks a limit.
func watch(ctx context.Context, probe *child, limits Limits) (usage, *breach, error) {
	ticker := time.NewTicker(probeWatchInterval)
	defer ticker.Stop()
	started := time.Now()
	var peak usage
	for {
		select {
		case <-probe.done:
			return peak, nil, nil
		case <-ctx.Done():
			if err := probe.kill(); err != nil {
				return peak, nil, err
			}
			return peak, nil, fmt.Errorf("run the probe: %w", ctx.Err())
		case <-ticker.C:
		}
		if now, ok := readUsage(probe.pid); ok {
			peak.cpu, peak.memory = max(peak.cpu, now.cpu), max(peak.memory, now.memory)
		}
		if broken := limits.broken(peak, time.Since(started)); broken != nil {
			return peak, broken, probe.kill()
		}
	}
}

// broken decides whether a limit is broken, and what that tells about what is probed.
func (l Limits) broken(now usage, wall time.Duration) *breach {
	switch {
	case l.Memory > 0 && now.memory > l.Memory:
		return &breach{Rejected, fmt.Sprintf("loading used %d MiB of memory, and may use %d MiB", now.memory>>20, l.Memory>>20)}
	case l.CPU > 0 && now.cpu > l.CPU:
		return &breach{Rejected, fmt.Sprintf("loading was not done after %s of computing; does a module loop when it starts or is configured?", l.CPU.Round(time.Second))}
	case l.Wall > 0 && wall > l.Wall:
		return &breach{Inconclusive, fmt.Sprintf("loading was not done after %s, of which it got %s to compute; the machine is busy, or a module waits", l.Wall.Round(time.Second), now.cpu.Round(time.Second))}
	}
	return nil
}

// localTrouble are words that blame this machine rather than what is probed.
var localTrouble = regexp.MustCompile(`(?i)invalid path: |unable to read file|no space left on device|too many open files|cannot allocate memory|permission denied|compiled without support`)

// judge turns the end of the probe into a verdict.
func judge(exit error, broken *breach, lines []string) Verdict {
	reasons := Reasons(lines)
	if broken != nil {
		return Verdict{Outcome: broken.outcome, Reasons: append([]string{broken.reason}, reasons...)}
	}
	if exit == nil {
		return Verdict{Outcome: Accepted}
	}
	verdict := Verdict{Outcome: Rejected, Reasons: reasons}
	var status *exec.ExitError
	if errors.As(exit, &status) {
		if wait, ok := status.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
			verdict.Reasons = append(verdict.Reasons, "Envoy died of the signal "+wait.Signal().String())
			if wait.Signal() == syscall.SIGKILL || wait.Signal() == syscall.SIGTERM {
				verdict.Outcome = Inconclusive // somebody else ended it; the kernel does when memory runs out
			}
		}
	}
	if len(verdict.Reasons) == 0 {
		verdict.Reasons = []string{"Envoy gave no reason: " + exit.Error()}
	}
	if localTrouble.MatchString(verdict.Reason()) {
		verdict.Outcome = Inconclusive
	}
	return verdict
}

// usage is what a process has used so far.
type usage struct {
	// cpu of its main thread
	cpu time.Duration
	// memory resident, in bytes
	memory int64
}
