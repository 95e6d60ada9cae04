package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/testresult"
)

// passwordVariable holds the password of an encrypted key. It is cosign's, so that one setting does for both.
const passwordVariable = "COSIGN_PASSWORD"

// keyPassword takes the password of a key from the environment, or asks for it where there is a terminal.
func keyPassword(cmd *cobra.Command, source string) func() ([]byte, error) {
	return func() ([]byte, error) {
		if text, set := os.LookupEnv(passwordVariable); set {
			return []byte(text), nil
		}
		in := int(os.Stdin.Fd())
		if !term.IsTerminal(in) {
			return nil, fmt.Errorf("set %s, since there is no terminal to ask at", passwordVariable)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Password of %s: ", source)
		password, err := term.ReadPassword(in)
		fmt.Fprintln(cmd.ErrOrStderr())
		return password, err
	}
}

func loadSigner(cmd *cobra.Command, source string) (signing.Signer, error) {
	return signing.LoadSigner(source, keyPassword(cmd, source))
}

const keyFlagHelp = "the private key: a PEM file (cosign.key, or one of openssl), or env://NAME; $" + passwordVariable + " has its password"

// signed is what sign and attest print.
type signed struct {
	Reference registry.Reference `json:"reference"`
	Digest    registry.Digest    `json:"digest"`
	Key       signing.KeyID      `json:"key"`
	// PredicateType is what was said of the artifact; empty for a plain signature.
	PredicateType string `json:"predicateType,omitempty"`
}

func newSign() *cobra.Command {
	var reg registryFlags
	var out output
	var key string
	var identity keylessSign
	cmd := &cobra.Command{
		Use:   "sign REFERENCE --key FILE | --identity-token FILE",
		Short: "Sign an artifact, so that waft verify and cosign verify take it",
		Long: `Sign signs the artifact that the reference names, by its digest, and keeps the signature beside it in the registry: in cosign's
signature image, and as a Sigstore bundle. No other service is asked.

With --identity-token it is signed without a key: the services of --signing-config give a certificate for who the token is about, and say
when it was used. The bundle is the only form then.`,
		Example: `  waft sign registry.example/filters/authz:1.2.0 --key cosign.key
  waft sign registry.example/filters/authz@sha256:3f1c… --key env://SIGNING_KEY
  waft sign registry.example/filters/authz:1.2.0 --identity-token env://ID_TOKEN --signing-config signing_config.json --trusted-root trusted_root.json`,
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if without, err := identity.given(key); without || err != nil {
				if err != nil {
					return err
				}
				return identity.sign(cmd, &reg, &out, args[0])
			}
			if key == "" {
				return usagef("waft sign: --key FILE is missing; see `waft sign --help`")
			}
			return signArtifact(cmd, &reg, &out, args[0], key, signed{}, signing.Sign)
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&key, "key", "", keyFlagHelp)
	identity.flags(cmd)
	return cmd
}

func newAttest() *cobra.Command {
	var reg registryFlags
	var out output
	var key, predicateType, file, report string
	cmd := &cobra.Command{
		Use:   "attest REFERENCE --key FILE --type URI --predicate FILE | --report FILE",
		Short: "Sign a statement about an artifact, such as that its tests passed",
		Long: `Attest signs an in-toto statement about the artifact that the reference names, and keeps it beside the artifact as a Sigstore
bundle. A trust policy can ask for it. With --report the statement is that of waft test --report: about this module, and that everything
passed.`,
		Example: `  waft attest registry.example/filters/authz:1.2.0 --key ci.key --report dist/authz.report.json
  waft attest registry.example/filters/authz:1.2.0 --key lead.key --type https://example.com/review/v1 --predicate review.json`,
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			needed := []struct{ value, name string }{{key, "--key FILE"}, {predicateType, "--type URI"}, {file, "--predicate FILE"}}
			if report != "" {
				if predicateType != "" || file != "" {
					return usagef("waft attest: --report has a type and a predicate of its own; leave out --type and --predicate")
				}
				needed = needed[:1]
			}
			for _, f := range needed {
				if f.value == "" {
					return usagef("waft attest: %s is missing; see `waft attest --help`", f.name)
				}
			}
			if report != "" {
				return signArtifact(cmd, &reg, &out, args[0], key, signed{PredicateType: testresult.PredicateType}, attestReport(cmd, &reg, report))
			}
			predicate, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return signArtifact(cmd, &reg, &out, args[0], key, signed{PredicateType: predicateType}, attestWith(predicateType, predicate))
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&key, "key", "", keyFlagHelp)
	f.StringVar(&predicateType, "type", "", "what kind of statement it is: a URI")
	f.StringVar(&file, "predicate", "", "what it says: a file with one JSON object")
	f.StringVar(&report, "report", "", "in the place of both: a report of waft test --report")
	return cmd
}

// signFunc signs an artifact and keeps the signature beside it.
type signFunc func(context.Context, *registry.Client, registry.Artifact, signing.Signer) (signing.PublicKey, error)

func attestWith(predicateType string, predicate []byte) signFunc {
	return func(ctx context.Context, c *registry.Client, a registry.Artifact, s signing.Signer) (signing.PublicKey, error) {
		return signing.Attest(ctx, c, a, s, predicateType, predicate)
	}
}

// attestReport signs what a report of scenarios says, if it is about the artifact's module and everything passed.
func attestReport(cmd *cobra.Command, reg *registryFlags, file string) signFunc {
	return func(ctx context.Context, c *registry.Client, a registry.Artifact, s signing.Signer) (signing.PublicKey, error) {
		if a.Packed() {
			var err error
			if a, err = pullForDigest(cmd, reg, a); err != nil {
				return signing.PublicKey{}, err
			}
		}
		r, _, err := testresult.Read(file, a.Module.Digest.Hex())
		if err != nil {
			return signing.PublicKey{}, err
		}
		return signing.Attest(ctx, c, a, s, testresult.PredicateType, r.Predicate)
	}
}

// signArtifact resolves a reference, signs what it names with do, and prints what was signed.
func signArtifact(cmd *cobra.Command, reg *registryFlags, out *output, reference, key string, said signed, do signFunc) error {
	if err := out.check(); err != nil {
		return err
	}
	ref, err := refToSign(reg, reference)
	if err != nil {
		return err
	}
	signer, err := loadSigner(cmd, key)
	if err != nil {
		return err
	}
	client, artifact, err := reg.resolve(cmd.Context(), ref)
	if err != nil {
		return err
	}
	public, err := do(cmd.Context(), client, artifact, signer)
	if err != nil {
		return err
	}
	said.Reference, said.Digest, said.Key = artifact.Reference, artifact.Digest, public.ID()
	return out.print(cmd.OutOrStdout(), said, func(t *table) {
		t.row("signed", said.Reference)
		t.row("key", said.Key)
		if said.PredicateType != "" {
			t.row("statement", said.PredicateType)
		}
	})
}

// refToSign reads a reference of what is to be signed. A mirror must not choose that.
func refToSign(reg *registryFlags, reference string) (registry.Reference, error) {
	ref, err := registry.ParseReference(reference)
	if err == nil && len(reg.mirrors) > 0 && ref.Digest == "" {
		err = fmt.Errorf("%s: with --mirror, name what is to be signed by its digest (…@sha256:…), as `waft inspect` tells it", ref)
	}
	return ref, err
}
