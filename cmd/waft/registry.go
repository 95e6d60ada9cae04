package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/admission"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/manifest"
)

// registryFlags say how a command reaches registries. Credentials come from Docker's configuration.
type registryFlags struct {
	plainHTTP []string
	ca        string
	cert, key string
	mirrors   []string
}

func (r *registryFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&r.plainHTTP, "plain-http", nil, "speak without TLS to this registry, HOST or HOST:PORT (may repeat)")
	mirrorFlag(cmd, &r.mirrors)
	r.tlsFlags(cmd)
}

func (r *registryFlags) tlsFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.ca, "registry-ca", "", "PEM file of the authorities that may vouch for registries (default: the system's)")
	f.StringVar(&r.cert, "registry-cert", "", "PEM file of this client's certificate, for a registry that asks for one")
	f.StringVar(&r.key, "registry-key", "", "PEM file of its key")
	cmd.MarkFlagsRequiredTogether("registry-cert", "registry-key")
}

// config is what the flags say, for a client that keeps modules in cache (nil: it keeps none).
func (r *registryFlags) config(cache *registry.Cache) (registry.Config, error) {
	c := registry.Config{Cache: cache, PlainHTTP: r.plainHTTP, UserAgent: "waft/" + version}
	var err error
	if c.Mirrors, err = parseMirrors(r.mirrors); err != nil {
		return c, err
	}
	if r.cert != "" {
		certificate, err := tls.LoadX509KeyPair(r.cert, r.key)
		if err != nil {
			return c, fmt.Errorf("--registry-cert %s, --registry-key %s: %w", r.cert, r.key, err)
		}
		c.Certificates = []tls.Certificate{certificate}
	}
	if r.ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(r.ca)
	if err != nil {
		return c, fmt.Errorf("--registry-ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return c, fmt.Errorf("--registry-ca: %s holds no PEM certificate", r.ca)
	}
	return c, nil
}

// resolve finds what a reference names, with a client that keeps no modules.
func (r *registryFlags) resolve(ctx context.Context, ref registry.Reference) (*registry.Client, registry.Artifact, error) {
	client, err := r.client(nil)
	if err != nil {
		return nil, registry.Artifact{}, err
	}
	artifact, err := client.Resolve(ctx, ref)
	if err != nil {
		return nil, registry.Artifact{}, trustFlags(err, ref)
	}
	return client, artifact, nil
}

func mirrorFlag(cmd *cobra.Command, mirrors *[]string) {
	// Not a slice of words between commas: a comma is part of one.
	cmd.Flags().StringArrayVar(mirrors, "mirror", nil, "ask this place before a registry, HOST=MIRROR[/PREFIX][,tags]; tags are asked of it only with ,tags (may repeat, in order)")
}

func parseMirrors(texts []string) (map[string][]registry.Mirror, error) {
	mirrors := map[string][]registry.Mirror{}
	for _, text := range texts {
		host, m, err := registry.ParseMirror(text)
		if err != nil {
			return nil, fmt.Errorf("--mirror: %w", err)
		}
		mirrors[host] = append(mirrors[host], m)
	}
	return mirrors, nil
}

func (r *registryFlags) client(cache *registry.Cache) (*registry.Client, error) {
	c, err := r.config(cache)
	if err != nil {
		return nil, err
	}
	return registry.NewClient(c)
}

// trustFlags adds to an error about trust the flags that it can be given by; package registry knows of none.
func trustFlags(err error, ref registry.Reference) error {
	if !errors.Is(err, registry.ErrUntrusted) {
		return err
	}
	return fmt.Errorf("%w (--plain-http %s, or --registry-ca FILE)", err, ref.Registry)
}

func newPush() *cobra.Command {
	var reg registryFlags
	var out output
	var manifestFile, signKey, policyFile, scenariosOf, reportFile string
	var layoutNames []string
	var noAdmission bool
	cmd := &cobra.Command{
		Use:   "push FILE.wasm REFERENCE",
		Short: "Publish a module as an OCI artifact",
		Long: `Push publishes a module, with its manifest beside it. The manifest is FILE.json, as waft build wrote it; for a module that
something else built, it is made from the module. A module that no known Envoy can load, or that is not a proxy-wasm module,
is refused.

Before anything is uploaded, the module is loaded as each Envoy would that its manifest names, and configured with the
configurations of its scenarios (FILE.scenarios.json, as waft build wrote it, or those that --scenarios names). Before a tag is
written, what was uploaded is read back as Istio, Envoy Gateway and others read it. What fails is not published.

Beside the module go, where they are there, FILE.cdx.json and FILE.provenance.json, which say what it was made of, and
FILE.report.json, which waft test --report wrote; a report of failures, or of other bytes, is refused.

The default layout, oci, and compat are for Istio, Envoy Gateway and waft; cncf is for generic Wasm tools. The first layout goes
to the reference's tag, each further one to TAG-LAYOUT. With --sign-key each is signed before its tag is written,
and so is what it was made of.`,
		Example: `  waft push dist/authz.wasm registry.example/filters/authz:1.2.0
  waft push dist/authz.wasm registry.example/filters/authz:1.2.0 --layout oci,compat,cncf
  waft push dist/authz.wasm registry.example/filters/authz:1.2.0 --sign-key cosign.key --policy trust.yaml`,
		Args: exactArgs("FILE.wasm", "REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ref, err := registry.ParseReference(args[1])
			if err != nil {
				return err
			}
			layouts, err := parseLayouts(layoutNames)
			if err != nil {
				return err
			}
			client, err := reg.client(nil)
			if err != nil {
				return err
			}
			described, err := manifestOf(args[0], manifestFile, ref)
			if err != nil {
				return err
			}
			module, content, err := registry.OpenModule(args[0])
			if err != nil {
				return err
			}
			defer content.Close()
			if described.Size != module.Size {
				return fmt.Errorf("push %s: its manifest says that it has %d bytes, and it has %d; build it again with `waft build`", args[0], described.Size, module.Size)
			}
			module.Digest = registry.Digest(described.Digest())
			module.Name, module.Version, module.ABIVersions = described.Name, described.Version, []string{described.ABI}
			if module.Manifest, err = described.Encode(); err != nil {
				return err
			}
			var admitted *admission.Admission
			if noAdmission {
				fmt.Fprintf(cmd.ErrOrStderr(), "waft push: NOT ADMITTED: %s is published without having been loaded once, and is not read back (--no-admission)\n", args[0])
			} else {
				bar := newBar(cmd.ErrOrStderr(), "admit "+filepath.Base(args[0]))
				a, err := admit(cmd.Context(), args[0], scenariosOf, described, bar.say)
				bar.done()
				if err != nil {
					return err
				}
				admitted, module.PullBack = &a, true
			}
			origin, err := build.ReadOrigin(args[0], described.SHA256)
			if err != nil {
				return err
			}
			report, err := readReport(args[0], reportFile, described.SHA256)
			if err != nil {
				return err
			}
			var signer signing.Signer
			if signKey != "" {
				if signer, err = loadSigner(cmd, signKey); err != nil {
					return err
				}
			}
			module.BeforeTag = beforeTag(client, described.SHA256, origin, report, signer)
			if policyFile != "" {
				policy, err := readPolicy(policyFile)
				if err != nil {
					return err
				}
				if err := refuseEarly(policy, ref, described.SHA256); err != nil {
					return err
				}
				module.BeforeTag = thenCheck(client, policy, module.BeforeTag)
			}
			bar := newBar(cmd.ErrOrStderr(), "push "+filepath.Base(args[0]))
			artifacts, err := client.PushLayouts(cmd.Context(), ref, module, layouts, bar.progress)
			bar.done()
			if err != nil {
				return trustFlags(err, ref)
			}
			return out.print(cmd.OutOrStdout(), pushed{artifacts[0], artifacts[1:], admitted}, func(t *table) {
				for _, artifact := range artifacts {
					t.row("pushed", artifact.Reference)
					t.row("artifact", artifact.Digest)
				}
				t.row("module", artifacts[0].Module.Digest)
				drawAdmission(t, admitted)
			})
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&scenariosOf, "scenarios", "", "the filter's folder, whose scenarios/*.yaml say what to configure the module with (default: FILE.scenarios.json)")
	cmd.Flags().StringVar(&reportFile, "report", "", "the report of waft test --report to publish beside the module (default: FILE.report.json where it is there)")
	cmd.Flags().BoolVar(&noAdmission, "no-admission", false, "publish a module that was neither loaded before nor read back after; for trials of what comes of that")
	cmd.Flags().StringVar(&manifestFile, "manifest", "", "the module's manifest (default: FILE.json where it is there)")
	cmd.Flags().StringSliceVar(&layoutNames, "layout", []string{string(registry.LayoutOCI)}, "oci, compat or cncf, or several of them with commas")
	cmd.Flags().StringVar(&policyFile, "policy", "", "a trust policy, in YAML: no tag is written for what it refuses; the signature of --sign-key counts")
	cmd.Flags().StringVar(&signKey, "sign-key", "", "sign each artifact before its tag is written, as waft sign does, with this "+strings.TrimPrefix(keyFlagHelp, "the "))
	return cmd
}

// pushed is what push prints: the artifact at the reference's tag, and those in further layouts.
type pushed struct {
	registry.Artifact
	Further []registry.Artifact `json:"further,omitempty"`
	// Admission says what the module was tried with; null for one that was not.
	Admission *admission.Admission `json:"admission"`
}

func parseLayouts(names []string) ([]registry.Layout, error) {
	var layouts []registry.Layout
	for _, name := range names {
		l, err := registry.ParseLayout(name)
		if err != nil {
			return nil, usagef("--layout: %w", err)
		}
		layouts = append(layouts, l)
	}
	return layouts, nil
}

// manifestOf is the manifest that goes with a module: the file given, else the one beside the module, else one made from
// the module. A manifest of other bytes is refused: it would describe what is not published.
func manifestOf(wasmFile, manifestFile string, ref registry.Reference) (manifest.Manifest, error) {
	digest, err := fileSHA256(wasmFile)
	if err != nil {
		return manifest.Manifest{}, err
	}
	if manifestFile == "" {
		m, err := build.ReadManifest(wasmFile, digest)
		if errors.Is(err, os.ErrNotExist) {
			wasm, err := os.ReadFile(wasmFile)
			if err != nil {
				return manifest.Manifest{}, err
			}
			return build.ManifestFor(wasm, build.ManifestOptions{Name: path.Base(ref.Repository), Version: versionOf(ref)})
		}
		return m, err
	}
	text, err := os.ReadFile(manifestFile)
	if err != nil {
		return manifest.Manifest{}, err
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return manifest.Manifest{}, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if m.SHA256 != digest {
		return manifest.Manifest{}, fmt.Errorf("%s describes a module with sha256 %s, and %s has %s; build it again with `waft build`, or name another --manifest",
			manifestFile, m.SHA256, wasmFile, digest)
	}
	return m, nil
}

// fileSHA256 is the sha256 of a file, in hex.
func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// versionOf is the tag of a reference, which is what a publisher calls the version.
func versionOf(ref registry.Reference) string {
	if ref.Tag != "" {
		return ref.Tag
	}
	return "0.0.0"
}

func newPull() *cobra.Command {
	var reg registryFlags
	var out output
	var file string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "pull REFERENCE",
		Short: "Fetch a module, verified by its digests",
		Long: `Pull writes the module to FILE.wasm and its manifest, where it has one, to FILE.json. A manifest that does not describe the
module is refused, and a FILE.json that is something else is left alone.`,
		Example: `  waft pull registry.example/filters/authz:1.2.0
  waft pull registry.example/filters/authz@sha256:3f1c… -O authz.wasm`,
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ref, err := registry.ParseReference(args[0])
			if err != nil {
				return err
			}
			if file == "" {
				file = filepath.Base(ref.Repository) + ".wasm"
			}
			if err := checkOutFile("-O", file); err != nil {
				return err
			}
			cache, remove, err := temporaryCache(filepath.Dir(file))
			if err != nil {
				return err
			}
			defer remove()
			client, err := reg.client(cache)
			if err != nil {
				return err
			}
			artifact, err := client.Resolve(cmd.Context(), ref)
			if err != nil {
				return trustFlags(err, ref)
			}
			if artifact.Manifest != nil && !overwrite {
				if err := keepManifest(manifestFile(file), artifact.Manifest); err != nil {
					return err
				}
			}
			bar := newBar(cmd.ErrOrStderr(), "pull "+ref.String())
			artifact, path, err := client.PullArtifact(cmd.Context(), artifact, bar.progress)
			bar.done()
			if err != nil {
				return trustFlags(err, ref)
			}
			if artifact.Manifest != nil {
				if err := describes(artifact); err != nil {
					return err
				}
				if err := writeFile(manifestFile(file), artifact.Manifest); err != nil {
					return err
				}
			}
			if err := os.Rename(path, file); err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), artifact, func(t *table) {
				t.row("pulled", file)
				t.row("artifact", artifact.Digest)
				t.row("module", artifact.Module.Digest)
			})
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "write FILE.json even where it is something else")
	cmd.Flags().StringVarP(&file, "out", "O", "", "the file to write (default: the repository's last word, with .wasm)")
	return cmd
}

// temporaryCache is a cache beside where its one module will go, so that the module gets there by a rename.
func temporaryCache(beside string) (*registry.Cache, func(), error) {
	dir, err := os.MkdirTemp(beside, ".waft-pull-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	cache, err := registry.OpenCache(dir)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return cache, remove, nil
}

// writeFile writes a file by a rename, so that nobody reads half of it.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".waft-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
