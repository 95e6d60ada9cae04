// Package trust decides whether an artifact may be used, by a policy that its owner wrote: which registries, which keys for
// which repositories, which attestations, what is revoked.
//
// The flow: Parse reads a policy from a file (YAML). Package signing collects and verifies what stands beside an artifact.
// Policy.Decide, a pure function, takes the artifact, the proofs and the time, and gives a Decision or a Refusal, which
// names the rule, the thing and what to do. Check does all of that in one call.
//
//	policy, err := trust.Parse(text)
//	decision, err := trust.Check(ctx, client, policy, artifact, time.Now())
//
// Invariants:
//   - What no rule allows is refused. So is everything once the policy has expired.
//   - The policy is read strictly: what is not known, stands there twice or cannot be meant is an error, never ignored.
//   - The policy comes from a file that whoever decides owns. It is never taken from a registry or from a distributor.
//
// Whoever enforces a policy (a distributor that creates a release, an agent that is about to load a module) needs Decide
// and the proofs only; where the registry is out of reach, signing.Evidence travels as JSON. The package does not know them.
package trust
