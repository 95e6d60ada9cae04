package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// defaultReleasesHost is where the distributor's own registry listens when it is not told otherwise.
const defaultReleasesHost = "127.0.0.1:7071"

// releaseRegistry says where the artifacts of releases are.
type releaseRegistry struct {
	registryFlags
	host string
}

func (r *releaseRegistry) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.host, "registry", defaultReleasesHost, "the distributor's own registry, HOST:PORT, where releases and their signatures are")
	f.StringSliceVar(&r.plainHTTP, "plain-http", nil, "speak without TLS to this registry, HOST or HOST:PORT (may repeat)")
	r.tlsFlags(cmd)
}

// storedRelease gets a release from the distributor, and its canonical form; that both are what the hash says is checked here.
func storedRelease(cmd *cobra.Command, server *serverFlags, name string) (release model.Release, canonical []byte, err error) {
	err = server.call(cmd, func(ctx context.Context, c *api.Client) error {
		shown, err := c.Releases.GetRelease(ctx, &waftv1.GetReleaseRequest{Ref: name})
		if err != nil {
			return err
		}
		if release, err = api.ReleaseOf(shown); err != nil {
			return err
		}
		canonical, err = release.CanonicalForm()
		return err
	})
	return release, canonical, err
}

// signedRelease is what release sign and release verify print.
type signedRelease struct {
	Release string `json:"release"`
	Layer   string `json:"layer"`
	// Reference is the release's artifact.
	Reference registry.Reference `json:"reference"`
	Key       signing.KeyID      `json:"key,omitempty"`
	Proofs    []signing.Proof    `json:"proofs,omitempty"`
	Decision  *trust.Decision    `json:"decision,omitempty"`
}

func newReleaseSign() *cobra.Command {
	var server serverFlags
	var reg releaseRegistry
	var out output
	var key string
	cmd := &cobra.Command{
		Use:   "sign NAME[@sha256:HEX] --key FILE",
		Short: "Sign a release, so that nodes whose policy asks for it take it",
		Long: `Sign takes a release from the distributor, checks that its content has the hash that it is called by, publishes its canonical form as an
artifact in the distributor's registry, and signs that as waft sign does. Read the release before you sign it (waft release show).`,
		Example: `  waft release sign edge-auth@sha256:3f1c --key release.key --registry waft.example:7071`,
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if key == "" {
				return usagef("waft release sign: --key FILE is missing; see `waft release sign --help`")
			}
			signer, err := loadSigner(cmd, key)
			if err != nil {
				return err
			}
			release, canonical, err := storedRelease(cmd, &server, args[0])
			if err != nil {
				return err
			}
			client, err := reg.client(nil)
			if err != nil {
				return err
			}
			ref, err := trust.ReleaseReference(reg.host, release.ID.Name, registry.DigestOf(canonical))
			if err != nil {
				return err
			}
			var public signing.PublicKey
			artifact, err := client.PushDocument(cmd.Context(), ref, trust.ReleaseDocument(release.ID.Name, canonical), func(ctx context.Context, a registry.Artifact) (err error) {
				public, err = signing.Sign(ctx, client, a, signer)
				return err
			})
			if err != nil {
				return trustFlags(err, ref)
			}
			done := signedRelease{Release: release.ID.String(), Layer: string(release.Layer), Reference: artifact.Reference, Key: public.ID()}
			return out.print(cmd.OutOrStdout(), done, func(t *table) {
				t.row("signed", done.Release)
				t.row("layer", done.Layer)
				t.row("artifact", done.Reference)
				t.row("key", done.Key)
			})
		},
	}
	server.flagsBesideKey(cmd)
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&key, "key", "", keyFlagHelp)
	return cmd
}

func newReleaseVerify() *cobra.Command {
	var server serverFlags
	var reg releaseRegistry
	var out output
	var keys []string
	var policyFile string
	cmd := &cobra.Command{
		Use:   "verify NAME[@sha256:HEX] --key FILE | --policy FILE",
		Short: "Say whether a release was signed with a key, or may be used by a trust policy",
		Example: `  waft release verify edge-auth --key release.pub --registry waft.example:7071
  waft release verify edge-auth --policy trust.yaml --registry waft.example:7071`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if (len(keys) == 0) == (policyFile == "") {
				return usagef("waft release verify: give --key FILE or --policy FILE; see `waft release verify --help`")
			}
			release, canonical, err := storedRelease(cmd, &server, args[0])
			if err != nil {
				return err
			}
			client, err := reg.client(nil)
			if err != nil {
				return err
			}
			ref, err := trust.ReleaseReference(reg.host, release.ID.Name, registry.DigestOf(canonical))
			if err != nil {
				return err
			}
			artifact, err := trust.ReleaseDocument(release.ID.Name, canonical).Artifact(ref)
			if err != nil {
				return err
			}
			verified := signedRelease{Release: release.ID.String(), Layer: string(release.Layer), Reference: artifact.Reference}
			if policyFile != "" {
				policy, err := readPolicy(policyFile)
				if err != nil {
					return err
				}
				decision, err := trust.CheckRelease(cmd.Context(), client, policy, reg.host,
					trust.Release{Name: release.ID.Name, Layer: string(release.Layer), Canonical: canonical}, time.Now())
				if err != nil {
					return trustFlags(err, ref)
				}
				verified.Decision = &decision
			} else {
				var public []signing.PublicKey
				for _, source := range keys {
					key, err := signing.LoadPublicKey(source)
					if err != nil {
						return err
					}
					public = append(public, key)
				}
				found, err := signing.Collect(cmd.Context(), client, artifact)
				if err != nil {
					return trustFlags(err, ref)
				}
				proofs, reasons := found.VerifyAll(public, artifact.Digest)
				if err := signing.RequireSignature(artifact, proofs, reasons); err != nil {
					return err
				}
				verified.Proofs = proofs
			}
			return out.print(cmd.OutOrStdout(), verified, func(t *table) {
				if verified.Decision == nil {
					t.row("verified", verified.Release)
					for _, p := range verified.Proofs {
						t.row(string(p.Form), p.Key)
					}
					return
				}
				t.row("allowed", verified.Release)
				t.row("policy", verified.Decision.Policy)
				t.row("rule", dash(verified.Decision.Rule))
				t.row("signed by", dash(strings.Join(verified.Decision.SignedBy, ", ")))
			})
		},
	}
	server.flagsBesideKey(cmd)
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringSliceVar(&keys, "key", nil, "a public key: a PEM file, such as cosign.pub, or env://NAME (may repeat: one of them is enough)")
	cmd.Flags().StringVar(&policyFile, "policy", "", "a trust policy, in YAML")
	return cmd
}
