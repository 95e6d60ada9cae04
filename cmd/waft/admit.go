package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"github.com/waft-project/waft/sdk/admission"
	"github.com/waft-project/waft/sdk/manifest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// admit loads a module as its manifest says that Envoys can, and configures it with its scenarios' configurations: those that waft build
// wrote beside it, or those of a filter's folder where one is named. step is told what is being done.
func admit(ctx context.Context, wasmFile, scenariosOf string, m manifest.Manifest, step func(string)) (admission.Admission, error) {
	var scenarios admission.Scenarios
	var err error
	if scenariosOf != "" {
		if scenarios, err = admission.Collect(scenariosOf); err == nil && len(scenarios.Files) == 0 {
			err = fmt.Errorf("--scenarios: %s has no scenarios/*.yaml", scenariosOf)
		}
	} else {
		scenarios, _, err = admission.Read(wasmFile, m.SHA256)
	}
	if err != nil {
		return admission.Admission{}, err
	}
	wasm, err := os.ReadFile(wasmFile)
	if err != nil {
		return admission.Admission{}, err
	}
	if is := fmt.Sprintf("%x", sha256.Sum256(wasm)); is != strings.TrimPrefix(m.SHA256, "sha256:") {
		// What is tried must be what is published, and that is what the manifest says.
		return admission.Admission{}, fmt.Errorf("%s has changed since it was built: its sha256 is %s, and the manifest says %s; build it again", wasmFile, is, m.SHA256)
	}
	host, err := wasmhost.NewHost(ctx, wasmhost.Config{})
	if err != nil {
		return admission.Admission{}, err
	}
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	return admission.Admit(ctx, host, wasm, m, scenarios, step)
}

// drawAdmission says what a module was tried with.
func drawAdmission(t *table, a *admission.Admission) {
	if a == nil {
		t.row("admitted", "no: it was neither loaded nor read back")
		return
	}
	t.row("loaded on", strings.Join(a.Profiles, ", "))
	switch {
	case len(a.Configurations) > 0:
		t.row("configured by", strings.Join(a.Configurations, ", "))
	case a.Refused != "":
		t.row("configured by", "nothing: it has no scenarios, and refused an empty configuration: "+a.Refused)
	default:
		t.row("configured by", "an empty configuration: it has no scenarios")
	}
}
