package trust

import (
	"context"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// Check collects what stands beside an artifact, as Resolve or Pull gave it, and decides. The error is a *Refusal, or that of
// the registry when it could not be asked: neither is a yes.
func Check(ctx context.Context, client *registry.Client, p *Policy, a registry.Artifact, now time.Time) (Decision, error) {
	found, err := signing.Collect(ctx, client, a)
	if err != nil {
		return Decision{}, err
	}
	return p.Decide(Artifact{Reference: a.Reference, Digest: a.Digest, Module: a.Module.Digest}, p.Verify(found, a.Digest), now)
}
