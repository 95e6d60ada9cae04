// Package envoytest is what tests of packages on Envoy share: the Envoy binaries of `make envoy`, and a Wasm filter that
// misbehaves as its configuration says.
//
// The filter's source is in testdata/guest. It counts the requests it sees as waft.requests.FILTER and adds response
// headers x-FILTER (its configuration), x-FILTER-flavour and x-FILTER-policy. Its configuration is one word: refuse,
// panic, loop or hog when it is configured; fail (503), deny (403), trap or hang in a request; tamper changes x-canary and x-request-id; any other passes.
//
// testdata/small has the same filter without Go's runtime. Envoy compiles the other one, as any that is written in Go, for nearly two seconds of a core at every load,
// which is most of what such a test takes; so it is for those tests that are about the time that takes, and one way from the first to the last.
//
// The package must not be imported by anything but tests.
package envoytest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
)

// The versions that tests run: the pinned one, and the oldest supported.
var (
	Newest = envoy.Number{Major: 1, Minor: 40, Patch: 0}
	Oldest = envoy.Number{Major: 1, Minor: 36, Patch: 4}
)

// VersionsVariable names, separated by spaces, the versions that EachVersion runs; `make test-envoys` sets it.
const VersionsVariable = "WAFT_ENVOY_VERSIONS"

// EachVersion runs a test on every version of VersionsVariable; without it, on the pinned one and on the oldest that is supported.
func EachVersion(t *testing.T, test func(t *testing.T, number envoy.Number)) {
	t.Helper()
	numbers := []envoy.Number{Newest, Oldest}
	if list := os.Getenv(VersionsVariable); list != "" {
		numbers = nil
		for _, text := range strings.Fields(list) {
			number, err := envoy.ParseNumber(text)
			if err != nil {
				t.Fatalf("$%s: %v", VersionsVariable, err)
			}
			if _, err := envoy.FindVersion(number); err != nil {
				t.Fatalf("$%s: %v", VersionsVariable, err) // it was asked for; to pass it over would say that it was tried
			}
			numbers = append(numbers, number)
		}
	}
	for _, number := range numbers {
		t.Run(number.String(), func(t *testing.T) { test(t, number) })
	}
}

const guestPackage = "github.com/waft-project/waft/envoy/envoytest/testdata/guest"

// Binary finds an Envoy of that version. For Newest, a binary that the environment names is taken when it has that version,
// and the test fails when there is none. Tests of other versions are passed over where `make envoys` has not fetched them;
// CI fetches them all.
func Binary(t testing.TB, number envoy.Number) envoy.Binary {
	t.Helper()
	if number == Newest {
		if binary, err := envoy.Find(""); err == nil {
			if version, err := binary.Version(t.Context()); err == nil && version.Number == number {
				return binary
			}
		}
	}
	binary, err := envoy.FindVersion(number)
	if errors.Is(err, envoy.ErrNotFound) && number != Newest {
		t.Skipf("Envoy %s is not here; `make envoys` fetches it", number)
	}
	if err != nil {
		t.Fatalf("Envoy %s is needed: %v; `make envoys` fetches it", number, err)
	}
	return binary
}

// guestFlavour stands for the flavour in the guest that is built; a flavour has as many letters.
const guestFlavour = "plain"

// BuildGuest compiles the filter into dir, for TestMain, and again in another flavour, whose module has the same behaviour and other bytes. It
// is built as users build theirs: Envoy takes half the time to load that. Its memory is not bounded, so that it can take more than it may.
func BuildGuest(dir, flavour string) (string, error) {
	built := filepath.Join(dir, "built", "guest.wasm") // once, whatever the flavours
	if _, err := os.Stat(built); errors.Is(err, os.ErrNotExist) {
		source, err := exec.Command("go", "list", "-f", "{{.Dir}}", guestPackage).Output()
		if err != nil {
			return "", fmt.Errorf("find the guest's source: %w", err)
		}
		build := exec.Command("go", "run", "github.com/waft-project/waft/cmd/waft", "build", "--memory", "4096", "--out", filepath.Dir(built), strings.TrimSpace(string(source)))
		if output, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the guest: %w\n%s", err, output)
		}
	}
	module, err := os.ReadFile(built)
	if err != nil {
		return "", fmt.Errorf("build the guest: %w", err)
	}
	return writeFlavour(module, dir, flavour+".wasm", flavour)
}

// GuestVariable is "go" where every test is to use the guest that is written in Go; `make test-envoys` sets it.
const GuestVariable = "WAFT_GUEST"

//go:embed testdata/small/guest.wat
var smallGuest string

// SmallGuest writes into dir the filter that BuildGuest builds, with the same behaviour in some 2 KB; unless GuestVariable says otherwise.
func SmallGuest(dir, flavour string) (string, error) {
	if os.Getenv(GuestVariable) == "go" {
		return BuildGuest(dir, flavour)
	}
	module, err := assembleWAT(smallGuest)
	if err != nil {
		return "", fmt.Errorf("build the small guest: %w", err)
	}
	return writeFlavour(module, dir, "small-"+flavour+".wasm", flavour)
}

// writeFlavour writes a guest in another flavour.
func writeFlavour(module []byte, dir, name, flavour string) (string, error) {
	is := []byte("flavour=" + guestFlavour)
	if n := bytes.Count(module, is); n != 1 || len(flavour) != len(guestFlavour) {
		return "", fmt.Errorf("build the guest: its flavour is in the module %d times, and not once, or %q has not %d letters, as %q has", n, flavour, len(guestFlavour), guestFlavour)
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, bytes.Replace(module, is, []byte("flavour="+flavour), 1), 0o600)
}
