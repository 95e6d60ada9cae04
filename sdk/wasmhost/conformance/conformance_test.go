package conformance

import (
	"context"
	"os"
	"regexp"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// onlyVariable names the environment variable that picks cases, by a regular expression.
const onlyVariable = "CONFORMANCE_ONLY"

// TestPinnedEnvoy runs all cases in wasmhost and in the Envoy that the tests pin. `make conformance` does it for every version.
func TestPinnedEnvoy(t *testing.T) {
	const version = "1.40.0"
	number, err := envoy.ParseNumber(version)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := envoy.FindVersion(number)
	if err != nil {
		t.Skip(err)
	}
	ctx := context.Background()
	host, err := wasmhost.NewHost(ctx, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close(ctx) }()
	only := regexp.MustCompile(os.Getenv(onlyVariable))
	results, err := compare(ctx, host, binary, version, t.TempDir(), casesFor(version, func(c testCase) bool {
		// Those that are known to differ wait in vain for what wasmhost did.
		_, known := listedReason(c.name, version)
		return only.MatchString(c.name) && (!known || only.String() != "")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Run(r.name, func(t *testing.T) {
			if r.err != nil {
				t.Error(r.err)
			}
			if reason, ok := listedReason(r.name, version); ok && r.diff != "" {
				t.Skipf("listed as a difference, because %s:\n%s", reason, r.diff)
			}
			if r.diff != "" {
				t.Errorf("Envoy %s (-) and wasmhost (+) differ:\n%s", version, r.diff)
			}
		})
	}
}
