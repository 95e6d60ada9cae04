package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/manifest"
)

func newInspect() *cobra.Command {
	var reg registryFlags
	var out output
	var keySources []string
	cmd := &cobra.Command{
		Use:   "inspect REFERENCE",
		Short: "Show an artifact: digests, layouts, who can load it, its configuration's schema, and what stands beside it",
		Long: `Inspect shows what a reference names, the layouts at the tags beside it, and who can load them; what the manifest says of the module;
and the signatures, the SBOM, the provenance and the reports that were put beside it. Those are claims of whoever could push there, unless
--key names the keys that they are to be verified with; waft verify decides.`,
		Example: `  waft inspect registry.example/filters/authz:1.2.0
  waft inspect registry.example/filters/authz:1.2.0 --key cosign.pub -o json`,
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ref, err := registry.ParseReference(args[0])
			if err != nil {
				return err
			}
			keys, err := loadPublicKeys(keySources)
			if err != nil {
				return err
			}
			client, artifact, err := reg.resolve(cmd.Context(), ref)
			if err != nil {
				return err
			}
			if artifact.Packed() {
				// Which module it holds is known only from its bytes.
				if artifact, err = pullForDigest(cmd, &reg, artifact); err != nil {
					return err
				}
			}
			value, err := inspect(cmd.Context(), client, ref, artifact, keys)
			if err != nil {
				return err
			}
			return value.print(cmd.OutOrStdout(), &out)
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringSliceVar(&keySources, "key", nil, "verify signatures and attestations with this public key, a PEM file or env://NAME (may repeat)")
	return cmd
}

func loadPublicKeys(sources []string) ([]signing.PublicKey, error) {
	var keys []signing.PublicKey
	for _, source := range sources {
		key, err := signing.LoadPublicKey(source)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// inspected is what inspect prints.
type inspected struct {
	registry.Artifact
	// Manifest is the waft manifest, or null when none is attached.
	Manifest json.RawMessage `json:"manifest"`
	// Readers are the systems, besides waft, that take the artifact.
	Readers []registry.Reader `json:"readers"`
	// Layouts are the artifacts at this tag and those that belong to it; of a digest without a tag, the artifact alone.
	Layouts []layoutAt `json:"layouts"`
	// Signatures are what signatures and attestations say of themselves. Proofs are those of them that --key has verified.
	Signatures []signing.Claim `json:"signatures"`
	Proofs     []signing.Proof `json:"proofs"`
	// SBOM, Provenance and Reports are about the artifact's module, and claims of whoever could push there unless they are signed.
	SBOM       *sbomBeside        `json:"sbom"`
	Provenance []provenanceBeside `json:"provenance"`
	Reports    []reportBeside     `json:"reports"`
	// Attached is all that is attached to it. Anyone who may push there can have attached it; waft verify says what counts.
	Attached []registry.Referrer `json:"attached"`

	manifest *manifest.Manifest
	verified bool
}

// layoutAt is an artifact at one of the tags that belong together.
type layoutAt struct {
	Tag     string            `json:"tag"`
	Layout  registry.Layout   `json:"layout"`
	Digest  registry.Digest   `json:"digest"`
	Readers []registry.Reader `json:"readers"`
	// Module is the digest of its module; of a packed one, what its manifest says, and empty where it has none.
	Module registry.Digest `json:"module,omitempty"`
}

// inspect gathers what there is to say of an artifact whose module is known.
func inspect(ctx context.Context, client *registry.Client, ref registry.Reference, a registry.Artifact, keys []signing.PublicKey) (inspected, error) {
	b, err := readBeside(ctx, client, a, keys)
	if err != nil {
		return inspected{}, err
	}
	v := inspected{
		Artifact: a, Manifest: a.Manifest, Readers: a.Readers(), Attached: append([]registry.Referrer{}, b.attached...), SBOM: b.sbom,
		Signatures: append([]signing.Claim{}, b.claims...), Proofs: append([]signing.Proof{}, b.proofs...),
		Provenance: append([]provenanceBeside{}, b.provenance...), Reports: append([]reportBeside{}, b.reports...), verified: len(keys) > 0,
	}
	if a.Manifest != nil {
		m, err := manifest.Decode(a.Manifest)
		if err != nil {
			return inspected{}, fmt.Errorf("%s: the manifest beside it: %w", a.Reference, err)
		}
		v.manifest = &m
	}
	v.Layouts, err = layoutsOf(ctx, client, ref, a)
	return v, err
}

// layoutsOf are the artifacts that belong to a reference. Where a digest was given, tags say nothing about it.
func layoutsOf(ctx context.Context, client *registry.Client, ref registry.Reference, a registry.Artifact) ([]layoutAt, error) {
	artifacts := []registry.Artifact{a}
	if ref.Digest == "" {
		var err error
		if artifacts, err = client.Layouts(ctx, ref); err != nil {
			return nil, err
		}
	}
	layouts := []layoutAt{}
	for _, at := range artifacts {
		l := layoutAt{Tag: at.Reference.Tag, Layout: at.Layout, Digest: at.Digest, Readers: at.Readers(), Module: at.Module.Digest}
		if l.Module == "" && at.Digest == a.Digest {
			l.Module = a.Module.Digest
		}
		if l.Module == "" {
			if m, err := manifest.Decode(at.Manifest); err == nil {
				l.Module = registry.Digest(m.Digest())
			}
		}
		layouts = append(layouts, l)
	}
	return layouts, nil
}

func (v inspected) print(w io.Writer, out *output) error {
	return out.print(w, v, func(t *table) {
		t.row("reference", v.Reference)
		t.row("artifact", v.Digest)
		t.row("layout", v.Layout)
		t.row("module", v.Module.Digest)
		t.row("size", v.Module.Size)
		t.row("loaded by", dash(strings.Join(append([]string{"waft"}, readerNames(v.Readers)...), ", ")))
		for _, l := range v.Layouts {
			if l.Digest == v.Digest {
				continue
			}
			readers := dash(strings.Join(readerNames(l.Readers), ", "))
			switch {
			case l.Module == "":
				readers += " (it does not say which module it holds)"
			case l.Module != v.Module.Digest:
				readers += " (another module: " + short(string(l.Module)) + ")"
			}
			t.row("also at", l.Tag, l.Layout, l.Digest, readers)
		}
		v.drawManifest(t)
		v.drawBeside(t)
	})
}

func (v inspected) drawManifest(t *table) {
	if v.manifest == nil {
		t.row("manifest", "none: its config cannot be checked before it reaches a node")
		return
	}
	m := v.manifest
	if m.Digest() != string(v.Module.Digest) {
		t.row("manifest", "NOT ABOUT THIS MODULE, but about "+m.Digest())
	}
	t.row("name", m.Name)
	t.row("version", m.Version)
	t.row("abi", m.ABI)
	t.row("language", dash(m.Language))
	t.row("loads on", dash(strings.Join(m.Envoys, ", ")))
	for _, profile := range slices.Sorted(maps.Keys(m.Missing)) {
		t.row("not on", profile, "it lacks "+strings.Join(m.Missing[profile], ", "))
	}
	t.row("memory max", fmt.Sprintf("%d MiB", m.MemoryMax>>20))
	fields := configFields(m.ConfigSchema)
	switch {
	case m.ConfigSchema == nil:
		t.row("config schema", "none")
	case len(fields) == 0:
		t.row("config schema", "yes")
	}
	for _, f := range fields {
		t.row("config", f.name, f.kind, f.note)
	}
}

func (v inspected) drawBeside(t *table) {
	if v.verified {
		for _, p := range v.Proofs {
			t.row("verified", p.Form, p.Key, p.PredicateType)
		}
		if len(v.Proofs) == 0 {
			t.row("verified", "nothing by these keys")
		}
	}
	for _, s := range v.Signatures {
		key := dash(string(s.Key))
		if s.Certificate {
			key = "a certificate"
		}
		t.row("signature", s.Form, key, s.PredicateType)
	}
	if v.SBOM != nil {
		t.row("sbom", fmt.Sprintf("%d Go modules", len(v.SBOM.Modules)), vouched(v.SBOM.SignedBy))
	}
	for _, p := range v.Provenance {
		t.row("provenance", dash(p.Package), "by "+dash(p.Builder), vouched(p.SignedBy))
	}
	for _, r := range v.Reports {
		t.row("report", r.Result, fmt.Sprintf("%d tests passed, %d failed", r.PassedTests, r.FailedTests), strings.Join(r.Hosts, ", "), vouched(r.SignedBy))
	}
	for _, r := range v.Attached {
		t.row("attached", r.ArtifactType, dash(r.Annotations["dev.sigstore.bundle.predicateType"]+r.Annotations[annotationPredicate]))
	}
}

// vouched says whether a document is more than a claim.
func vouched(keys []signing.KeyID) string {
	if len(keys) == 0 {
		return "(claimed)"
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Short()
	}
	return "(signed by " + strings.Join(names, ", ") + ")"
}

func readerNames(readers []registry.Reader) []string {
	names := make([]string, len(readers))
	for i, r := range readers {
		names[i] = string(r)
	}
	return names
}

// configField is a field of a configuration, for a person.
type configField struct{ name, kind, note string }

// configFields are the fields at the top of a schema, in its order. The whole of it is in -o json.
func configFields(schema json.RawMessage) []configField {
	var s struct {
		Properties map[string]struct {
			Type        json.RawMessage `json:"type"`
			Ref         string          `json:"$ref"`
			Default     json.RawMessage `json:"default"`
			Description string          `json:"description"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	var fields []configField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		f := configField{name: name, kind: strings.Trim(string(p.Type), `"`)}
		if f.kind == "" {
			f.kind = strings.TrimPrefix(p.Ref, "#/$defs/")
		}
		f.kind = dash(f.kind)
		switch {
		case slices.Contains(s.Required, name):
			f.note = "required"
		case len(p.Default) > 0:
			f.note = "default " + string(p.Default)
		}
		fields = append(fields, f)
	}
	return fields
}
