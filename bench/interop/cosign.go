package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/registry/signing"
)

var forms = []signing.Form{signing.FormBundle, signing.FormTag}

// cosignVerify asks cosign for a signature by our key, in one of the two forms.
func (w *workshop) cosignVerify(ctx context.Context, ref string, form signing.Form) (string, error) {
	return w.cosignVerifyWith(ctx, ref, form, w.pub)
}

func (w *workshop) cosignVerifyWith(ctx context.Context, ref string, form signing.Form, pub string) (string, error) {
	return w.cosign(ctx, w.dir, "verify", "--key", pub, "--insecure-ignore-tlog=true", "--allow-http-registry",
		"--new-bundle-format="+map[bool]string{true: "true", false: "false"}[form == signing.FormBundle], ref)
}

// cosignSign has cosign sign what stands at ref, without a log, in one of the two forms.
func (w *workshop) cosignSign(ctx context.Context, ref string, form signing.Form) error {
	args := []string{"sign", "--key", w.key, "--allow-http-registry", "--yes"}
	if form == signing.FormBundle {
		config := filepath.Join(w.dir, "signing-config.json")
		if err := os.WriteFile(config, []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`), 0o600); err != nil {
			return err
		}
		args = append(args, "--signing-config", config)
	} else {
		args = append(args, "--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false")
	}
	_, err := w.cosign(ctx, w.dir, append(args, ref)...)
	return err
}
