package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

// keylessSign are the flags of sign for whoever has an identity and no key.
type keylessSign struct{ token, services, root string }

func (k *keylessSign) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.token, "identity-token", "", "sign as whoever this token is about, without a key: a file, or env://NAME")
	f.StringVar(&k.services, "signing-config", "", "with --identity-token: the services to ask, as cosign's signing_config.json has them")
	f.StringVar(&k.root, "trusted-root", "", "with --identity-token: trusted_root.json of those services, by which the signature is verified before it is published")
}

// given says whether the flags are there, and all of them. With a key there must be none.
func (k *keylessSign) given(key string) (bool, error) {
	if k.token == "" && k.services == "" && k.root == "" {
		return false, nil
	}
	if key != "" {
		return false, usagef("waft sign: give --key, or --identity-token; see `waft sign --help`")
	}
	for _, f := range []struct{ value, name string }{{k.token, "--identity-token FILE"}, {k.services, "--signing-config FILE"}, {k.root, "--trusted-root FILE"}} {
		if f.value == "" {
			return false, usagef("waft sign: %s is missing; see `waft sign --help`", f.name)
		}
	}
	return true, nil
}

// signedAs is what sign prints where no key signed.
type signedAs struct {
	Reference   registry.Reference  `json:"reference"`
	Digest      registry.Digest     `json:"digest"`
	Certificate signing.Certificate `json:"certificate"`
}

// sign signs what a reference names.
func (k *keylessSign) sign(cmd *cobra.Command, reg *registryFlags, out *output, reference string) error {
	if err := out.check(); err != nil {
		return err
	}
	ref, err := refToSign(reg, reference)
	if err != nil {
		return err
	}
	token, err := readToken(k.token)
	if err != nil {
		return err
	}
	text, err := readSome(k.services, keyless.MaxFileBytes)
	if err != nil {
		return fmt.Errorf("--signing-config: %w", err)
	}
	services, err := keyless.ParseServices(text)
	if err != nil {
		return fmt.Errorf("%s: %w", k.services, err)
	}
	verifier, err := readTrustedRoot(k.root)
	if err != nil {
		return err
	}
	client, artifact, err := reg.resolve(cmd.Context(), ref)
	if err != nil {
		return err
	}
	by, err := keyless.Sign(cmd.Context(), client, artifact, services, token, verifier)
	if err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), signedAs{artifact.Reference, artifact.Digest, by}, func(t *table) {
		t.row("signed", artifact.Reference)
		t.row("issuer", by.Issuer)
		t.row("subject", by.Subject)
		t.row("time", by.Time.Format(time.RFC3339))
	})
}

// keylessVerify are the flags of verify for what an identity signed. Their names are cosign's.
type keylessVerify struct{ issuer, subject, root string }

func (k *keylessVerify) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.subject, "certificate-identity", "", "who must have signed it, without a key: an e-mail address or a URI, all of it")
	f.StringVar(&k.issuer, "certificate-oidc-issuer", "", "with --certificate-identity: the URL of whoever vouches for that")
	f.StringVar(&k.root, "trusted-root", "", "with --certificate-identity: trusted_root.json of the services by which it was signed")
}

// given says whether the flags are there, and all of them.
func (k *keylessVerify) given() (bool, error) {
	if k.subject == "" && k.issuer == "" && k.root == "" {
		return false, nil
	}
	for _, f := range []struct{ value, name string }{
		{k.subject, "--certificate-identity WHO"}, {k.issuer, "--certificate-oidc-issuer URL"}, {k.root, "--trusted-root FILE"},
	} {
		if f.value == "" {
			return false, usagef("waft verify: %s is missing; see `waft verify --help`", f.name)
		}
	}
	return true, nil
}

func (k *keylessVerify) verify(cmd *cobra.Command, reg *registryFlags, out *output, ref registry.Reference) error {
	verifier, err := readTrustedRoot(k.root)
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
	proofs, reasons := verifier.VerifyAll(found, artifact.Digest)
	var theirs []signing.Proof
	for _, p := range proofs {
		if p.Certificate.Issuer == k.issuer && p.Certificate.Subject == k.subject {
			theirs = append(theirs, p)
			continue
		}
		reasons = append(reasons, fmt.Errorf("%s signed it, by %s", p.Certificate.Subject, p.Certificate.Issuer))
	}
	if err := signing.RequireSignature(artifact, theirs, reasons); err != nil {
		return err
	}
	return out.print(cmd.OutOrStdout(), verified{Reference: artifact.Reference, Digest: artifact.Digest, Proofs: theirs}, func(t *table) {
		t.row("verified", artifact.Reference)
		for _, p := range theirs {
			t.row(string(p.Form), p.Certificate.Subject, p.Certificate.Time.Format(time.RFC3339), p.PredicateType)
		}
	})
}

func readTrustedRoot(file string) (*keyless.Verifier, error) {
	text, err := readSome(file, keyless.MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("--trusted-root: %w", err)
	}
	verifier, err := keyless.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return verifier, nil
}

// readToken reads an identity token from a file, or from an environment variable.
func readToken(source string) (string, error) {
	if name, ok := strings.CutPrefix(source, "env://"); ok {
		token, set := os.LookupEnv(name)
		if !set || token == "" {
			return "", errors.New("--identity-token: $" + name + " is not set")
		}
		return token, nil
	}
	text, err := readSome(source, keyless.MaxTokenBytes)
	if err != nil {
		return "", fmt.Errorf("--identity-token: %w", err)
	}
	return string(text), nil
}

// readSome reads a file, and one byte more than it may have: whoever reads what is in it refuses that.
func readSome(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
