package main

import (
	"context"
	"errors"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

// refuseEarly refuses a push before anything is uploaded, for what no signature could change: a policy that has ended, a registry or a repository
// that it does not allow, a module that is revoked.
func refuseEarly(policy *trust.Policy, ref registry.Reference, sha256 string) error {
	_, err := policy.Decide(trust.Artifact{Reference: ref, Module: registry.Digest("sha256:" + sha256)}, nil, time.Now())
	if r, ok := errors.AsType[*trust.Refusal](err); ok && (r.Code == trust.CodeSignature || r.Code == trust.CodeAttestation) {
		return nil
	}
	return err
}

// thenCheck asks a policy about each artifact when everything of it is in the registry, signatures included, and before a tag names it: what
// the policy refuses, nobody finds.
func thenCheck(client *registry.Client, policy *trust.Policy, first func(context.Context, registry.Artifact) error) func(context.Context, registry.Artifact) error {
	return func(ctx context.Context, a registry.Artifact) error {
		if err := first(ctx, a); err != nil {
			return err
		}
		_, err := trust.Check(ctx, client, policy, a, time.Now())
		return err
	}
}
