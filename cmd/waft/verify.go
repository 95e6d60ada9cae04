package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

func newVerify() *cobra.Command {
	var reg registryFlags
	var out output
	var keys []string
	var policyFile string
	var identity keylessVerify
	cmd := &cobra.Command{
		Use:   "verify REFERENCE --key FILE | --certificate-identity WHO | --policy FILE",
		Short: "Say whether an artifact was signed with a key or by somebody, or may be used by a trust policy",
		Long: `Verify reads the signatures and attestations beside an artifact, those that cosign made included, and succeeds when one of the
keys or that identity signed it, or when the policy allows it. No other service is asked.`,
		Example: `  waft verify registry.example/filters/authz:1.2.0 --key cosign.pub
  waft verify registry.example/filters/authz:1.2.0 --policy trust.yaml`,
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			byIdentity, err := identity.given()
			if err != nil {
				return err
			}
			ways := 0
			for _, given := range []bool{len(keys) > 0, policyFile != "", byIdentity} {
				if given {
					ways++
				}
			}
			if ways != 1 {
				return usagef("waft verify: give --key FILE, --certificate-identity WHO or --policy FILE; see `waft verify --help`")
			}
			ref, err := registry.ParseReference(args[0])
			if err != nil {
				return err
			}
			if policyFile != "" {
				return verifyByPolicy(cmd, &reg, &out, ref, policyFile)
			}
			if byIdentity {
				return identity.verify(cmd, &reg, &out, ref)
			}
			return verifyByKeys(cmd, &reg, &out, ref, keys)
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringSliceVar(&keys, "key", nil, "a public key: a PEM file, such as cosign.pub, or env://NAME (may repeat: one of them is enough)")
	cmd.Flags().StringVar(&policyFile, "policy", "", "a trust policy, in YAML")
	identity.flags(cmd)
	return cmd
}

// verified is what verify prints.
type verified struct {
	Reference registry.Reference `json:"reference"`
	Digest    registry.Digest    `json:"digest"`
	// Proofs are what the keys signed, when keys were given.
	Proofs []signing.Proof `json:"proofs,omitempty"`
	// Decision is the policy's, when one was given.
	Decision *trust.Decision `json:"decision,omitempty"`
}

func verifyByKeys(cmd *cobra.Command, reg *registryFlags, out *output, ref registry.Reference, sources []string) error {
	keys, err := loadPublicKeys(sources)
	if err != nil {
		return err
	}
	client, artifact, err := reg.resolve(cmd.Context(), ref)
	if err != nil {
		return err
	}
	found, err := signing.Collect(cmd.Context(), client, artifact)
	if err != nil {
		return err
	}
	proofs, reasons := found.VerifyAll(keys, artifact.Digest)
	if err := signing.RequireSignature(artifact, proofs, reasons); err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), verified{Reference: artifact.Reference, Digest: artifact.Digest, Proofs: proofs}, func(t *table) {
		t.row("verified", artifact.Reference)
		for _, p := range proofs {
			t.row(string(p.Form), p.Key, p.PredicateType)
		}
	})
}

func verifyByPolicy(cmd *cobra.Command, reg *registryFlags, out *output, ref registry.Reference, file string) error {
	policy, err := readPolicy(file)
	if err != nil {
		return err
	}
	client, artifact, err := reg.resolve(cmd.Context(), ref)
	if err != nil {
		return err
	}
	decision, err := trust.Check(cmd.Context(), client, policy, artifact, time.Now())
	if refusal, ok := errors.AsType[*trust.Refusal](err); ok && refusal.Code == trust.CodeModuleUnknown {
		// Which module an archive holds is known only from its bytes, and the policy may have revoked that. Nothing else is against it.
		if artifact, err = pullForDigest(cmd, reg, artifact); err != nil {
			return err
		}
		decision, err = trust.Check(cmd.Context(), client, policy, artifact, time.Now())
	}
	if err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), verified{Reference: artifact.Reference, Digest: artifact.Digest, Decision: &decision}, func(t *table) {
		t.row("allowed", artifact.Reference)
		t.row("policy", decision.Policy)
		t.row("rule", decision.Rule)
		t.row("signed by", dash(strings.Join(decision.SignedBy, ", ")))
		t.row("attestations", dash(strings.Join(decision.Attestations, ", ")))
		if !decision.Expires.IsZero() {
			t.row("until", decision.Expires.Format(time.RFC3339))
		}
	})
}

// pullForDigest downloads a packed artifact for its module's digest alone.
func pullForDigest(cmd *cobra.Command, reg *registryFlags, a registry.Artifact) (registry.Artifact, error) {
	cache, remove, err := temporaryCache(os.TempDir())
	if err != nil {
		return registry.Artifact{}, err
	}
	defer remove()
	client, err := reg.client(cache)
	if err != nil {
		return registry.Artifact{}, err
	}
	a, _, err = client.Pull(cmd.Context(), a.Reference, nil)
	return a, err
}

// readPolicy reads a trust policy, for one decision.
func readPolicy(file string) (*trust.Policy, error) {
	f, err := trust.Open(file)
	if err != nil {
		return nil, err
	}
	policy, _ := f.Policy()
	return policy, nil
}
