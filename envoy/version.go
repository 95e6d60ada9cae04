package envoy

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// versionTimeout bounds `envoy --version`, which loads a binary of a hundred megabytes from a cold disk.
const versionTimeout = 30 * time.Second

// maxBuild is the longest Version.Build that is taken, in bytes. Envoy's own has a hundred or less; it stands in reports.
const maxBuild = 256

// Number is a version of Envoy. The zero value is no version.
type Number struct {
	Major, Minor, Patch int
}

// The versions at which Envoy learnt what the renderings differ by.
var (
	// adminAllowPathsSince is the first that parses admin.allow_paths; 1.36 refuses the whole bootstrap for it.
	adminAllowPathsSince = Number{1, 37, 0}
	// engineBeforeWorkersSince is the first of those tried whose workers may load the first module of all on a processor with protection keys: see
	// beginEngine. 1.36.4 and 1.37.0 end there.
	engineBeforeWorkersSince = Number{1, 38, 2}
	// workerWatchdogSince is the first whose workers are watched by watchdogs.worker_watchdog: before, both guards take main_thread_watchdog
	// (envoyproxy/envoy#43522; seen on 1.36.4 and 1.37.0), so that the workers' kill_timeout ends nothing.
	workerWatchdogSince = Number{1, 38, 0}
	// filterChainSince is the first with envoy.filters.http.filter_chain.
	filterChainSince = Number{1, 39, 0}
	// statsAccessLogSince is the first of those tried that has envoy.access_loggers.stats.
	statsAccessLogSince = Number{1, 40, 0}
	// OldestSupported is the oldest Envoy that waft renders for.
	OldestSupported = Number{1, 36, 0}
)

// ParseNumber reads MAJOR.MINOR.PATCH; what follows a hyphen (as in 1.41.0-dev) is left out.
func ParseNumber(s string) (Number, error) {
	core, _, _ := strings.Cut(s, "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return Number{}, fmt.Errorf("version %.255q of Envoy is not MAJOR.MINOR.PATCH", s)
	}
	var n [3]int
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 31) // no sign
		if err != nil {
			return Number{}, fmt.Errorf("version %.255q of Envoy is not MAJOR.MINOR.PATCH", s)
		}
		n[i] = int(v)
	}
	return Number{n[0], n[1], n[2]}, nil
}

// String is MAJOR.MINOR.PATCH.
func (n Number) String() string { return fmt.Sprintf("%d.%d.%d", n.Major, n.Minor, n.Patch) }

// Profile is the name of the profile that says what a module can import on this version: envoy-MAJOR.MINOR.
func (n Number) Profile() string { return fmt.Sprintf("envoy-%d.%d", n.Major, n.Minor) }

// HasFilterChain says whether a whole chain fits into one slot (1.39 and later).
func (n Number) HasFilterChain() bool { return n.Compare(filterChainSince) >= 0 }

// CountsDenied says whether a bootstrap for this version counts the answers 401 and 403 (DeniedStat); Envoy's own
// statistics know only classes of status.
func (n Number) CountsDenied() bool { return n.Compare(statsAccessLogSince) >= 0 }

func (n Number) watchesWorkersApart() bool { return n.Compare(workerWatchdogSince) >= 0 }

func (n Number) workersNeedEngine() bool { return n.Compare(engineBeforeWorkersSince) < 0 }

func (n Number) hasAdminAllowPaths() bool { return n.Compare(adminAllowPathsSince) >= 0 }

// Version is what a binary says of itself.
type Version struct {
	Number Number
	// Build is all that `envoy --version` prints after "version:", COMMIT/NUMBER/STATE/TYPE/TLS. Two binaries of one number can
	// differ in it; verdicts of the probe are kept by it.
	Build string
}

// versionLine matches "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL".
var versionLine = regexp.MustCompile(`version:\s*(\S+)`)

// ErrVersion means that a binary did not say which version of Envoy it is.
var ErrVersion = errors.New("not a version of Envoy")

// ParseVersion reads the output of `envoy --version`.
func ParseVersion(output string) (Version, error) {
	match := versionLine.FindStringSubmatch(output)
	if match == nil {
		return Version{}, fmt.Errorf("%w: no \"version:\" in %.255q", ErrVersion, firstLine(output))
	}
	if len(match[1]) > maxBuild {
		return Version{}, fmt.Errorf("%w: %.255q… is too long", ErrVersion, match[1])
	}
	fields := strings.Split(match[1], "/")
	if len(fields) < 2 {
		return Version{}, fmt.Errorf("%w: %q is not COMMIT/NUMBER/…", ErrVersion, match[1])
	}
	number, err := ParseNumber(fields[1])
	if err != nil {
		return Version{}, fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return Version{Number: number, Build: match[1]}, nil
}

// Version runs `envoy --version`.
func (b Binary) Version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, b.Path, "--version").Output()
	if err != nil {
		return Version{}, fmt.Errorf("ask %s for its version: %w; is it an Envoy for this machine?", b.Path, err)
	}
	version, err := ParseVersion(string(output))
	if err != nil {
		return Version{}, fmt.Errorf("ask %s for its version: %w", b.Path, err)
	}
	return version, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
