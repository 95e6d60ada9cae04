package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// pageSize is how many items a list asks for at a time.
const pageSize = 200

func newRelease() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "release",
		Short: "Create and look at releases: immutable sets of modules with their configuration",
		Example: `  waft release create -f release.yaml
  waft release show edge-auth`,
	})
	cmd.AddCommand(newReleaseCreate(), newReleaseList(), newReleaseShow(), newReleaseDiff(), newReleaseSign(), newReleaseVerify())
	return cmd
}

func newReleaseCreate() *cobra.Command {
	var server serverFlags
	var out output
	var file, reason string
	var inline []string
	cmd := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Resolve, verify, validate and store a release",
		Long: `Create resolves every module reference to a digest, fetches and verifies the bytes, and validates each filter's
configuration against its module's schema. Nothing is stored unless all of that succeeds. A release never changes:
creating the same content again returns the release that is there.

With --inline a module comes with the release instead of out of a registry: the distributor keeps it in its own, as
inline/LAYER/FILTER, by its digest, and what access and trust policies say of that repository holds for it.`,
		Example: `  waft release create -f release.yaml --reason 'CVE fix in authz'
  waft release create -f release.yaml --inline authz=dist/authz.wasm`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			release := &waftv1.Release{}
			if err := readDocument(cmd, file, release); err != nil {
				return err
			}
			if err := inlineModules(release, inline); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				created, err := c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release, Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), created, func(t *table) {
					t.row("release", releaseRef(created))
					for _, m := range created.GetStatus().GetModules() {
						t.row("  "+m.GetFilter(), m.GetModule().GetDigest(), m.GetModule().GetReference())
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	fileFlag(cmd, &file)
	reasonFlag(cmd, &reason)
	cmd.Flags().StringArrayVar(&inline, "inline", nil, "FILTER=FILE.wasm: give this filter the module in a file (repeatable; at most 6,000,000 bytes in all)")
	return cmd
}

func newReleaseList() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List releases, newest first",
		Example: "  waft release list edge-auth -o json",
		Args:    oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				all, err := listReleases(ctx, c, strings.Join(args, ""))
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"releases": list}, func(t *table) {
					now := time.Now()
					t.row("NAME", "HASH", "LAYER", "FILTERS", "RESOURCES", "AGE", "BY")
					for _, r := range all {
						t.row(r.GetMetadata().GetName(), short(r.GetStatus().GetHash()), r.GetMetadata().GetLayer(),
							dash(strings.Join(filterNames(r), ",")), len(r.GetSpec().GetResources())+len(r.GetSpec().GetResourceOverrides()), age(r.GetStatus().GetCreatedAt(), now), dash(r.GetStatus().GetCreatedBy()))
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func listReleases(ctx context.Context, c *api.Client, name string) ([]*waftv1.Release, error) {
	return pages(func(token string) ([]*waftv1.Release, string, error) {
		page, err := c.Releases.ListReleases(ctx, &waftv1.ListReleasesRequest{Name: name, PageSize: pageSize, PageToken: token})
		return page.GetReleases(), page.GetNextPageToken(), err
	})
}

func newReleaseShow() *cobra.Command {
	var server serverFlags
	out := output{}
	cmd := &cobra.Command{
		Use:   "show NAME[@sha256:HEX]",
		Short: "Show a release, with what its references were resolved to",
		Example: `  waft release show edge-auth
  waft release show edge-auth@sha256:3f1c -o json`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				r, err := c.Releases.GetRelease(ctx, &waftv1.GetReleaseRequest{Ref: args[0]})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), r, func(t *table) { drawRelease(t, r) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

func drawRelease(t *table, r *waftv1.Release) {
	t.row("release", releaseRef(r))
	t.row("layer", r.GetMetadata().GetLayer())
	t.row("created", r.GetStatus().GetCreatedAt().AsTime().Format(time.RFC3339)+" by "+dash(r.GetStatus().GetCreatedBy()))
	draw := func(kind string, filters []*waftv1.FilterSpec) {
		for _, f := range filters {
			t.row()
			t.row(kind, f.GetName())
			for path, value := range sortedFields(flatten("", mustJSON(f))) {
				if path != "name" {
					t.row("  "+path, value)
				}
			}
		}
	}
	draw("filter", r.GetSpec().GetFilters())
	draw("override", r.GetSpec().GetOverrides())
	resolved := r.GetStatus().GetResources()
	drawAll := func(kind string, resources []*waftv1.ReleaseResource) {
		for _, one := range resources {
			t.row()
			t.row(kind, one.GetCollection()+":"+one.GetName())
			if len(resolved) > 0 {
				t.row("  version", resolved[0].GetVersion())
				resolved = resolved[1:]
			}
			for path, value := range sortedFields(flatten("spec", mustJSON(one.GetSpec()))) {
				t.row("  "+path, value)
			}
		}
	}
	drawAll("resource", r.GetSpec().GetResources())
	drawAll("resource override", r.GetSpec().GetResourceOverrides())
	for _, c := range r.GetStatus().GetTaken() {
		t.row()
		t.row("taken", c.GetName()+" at "+c.GetVersion())
	}
	for _, m := range r.GetStatus().GetModules() {
		t.row()
		t.row("module", m.GetFilter())
		t.row("  artifact", m.GetModule().GetArtifact())
		t.row("  sha256", m.GetModule().GetDigest())
		t.row("  size", m.GetModule().GetSize())
		t.row("  loads on", dash(strings.Join(m.GetEnvoys(), ", ")))
	}
}

func newReleaseDiff() *cobra.Command {
	var server serverFlags
	var out output
	cmd := &cobra.Command{
		Use:     "diff A B",
		Short:   "Show what changes from one release to another, field by field",
		Example: "  waft release diff edge-auth@sha256:3f1c edge-auth@sha256:9a40",
		Args:    exactArgs("A", "B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				found := releaseDiff{A: args[0], B: args[1]}
				var sides [2]map[string]string
				for i, ref := range args {
					r, err := c.Releases.GetRelease(ctx, &waftv1.GetReleaseRequest{Ref: ref})
					if err != nil {
						return err
					}
					sides[i] = comparable(r)
				}
				found.Changes = diff(sides[0], sides[1])
				return out.print(cmd.OutOrStdout(), found, func(t *table) {
					for _, c := range found.Changes {
						for _, line := range c.lines() {
							t.row(line)
						}
					}
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	return cmd
}

// releaseDiff is what release diff prints.
type releaseDiff struct {
	A       string        `json:"a"`
	B       string        `json:"b"`
	Changes []valueChange `json:"changes"`
}

// valueChange is a field in which two releases, or two resources, differ; A or B is nil where it is absent.
type valueChange struct {
	Path string          `json:"path"`
	A    json.RawMessage `json:"a,omitempty"`
	B    json.RawMessage `json:"b,omitempty"`
}

// lines are what is only in A (-), only in B (+), and what differs (both).
func (c valueChange) lines() []string {
	var lines []string
	if c.A != nil {
		lines = append(lines, "- "+c.Path+": "+string(c.A))
	}
	if c.B != nil {
		lines = append(lines, "+ "+c.Path+": "+string(c.B))
	}
	return lines
}

// comparable is what a release says, as path → JSON value, with filters by name and modules by digest.
func comparable(r *waftv1.Release) map[string]string {
	out := map[string]string{"layer": strconv.Quote(r.GetMetadata().GetLayer())}
	add := func(kind string, filters []*waftv1.FilterSpec) {
		for _, f := range filters {
			for path, value := range flatten(kind+"."+f.GetName(), mustJSON(f)) {
				out[path] = value
			}
		}
	}
	add("filters", r.GetSpec().GetFilters())
	add("overrides", r.GetSpec().GetOverrides())
	addAll := func(kind string, resources []*waftv1.ReleaseResource) {
		for _, one := range resources {
			for path, value := range flatten(kind+"."+one.GetCollection()+":"+one.GetName(), mustJSON(one.GetSpec())) {
				out[path] = value
			}
		}
	}
	addAll("resources", r.GetSpec().GetResources())
	addAll("resourceOverrides", r.GetSpec().GetResourceOverrides())
	for _, m := range r.GetStatus().GetModules() {
		out["modules."+m.GetFilter()+".sha256"] = strconv.Quote(m.GetModule().GetDigest())
	}
	return out
}

// diff lists what differs, by path. Values are JSON.
func diff(a, b map[string]string) []valueChange {
	paths := map[string]bool{}
	for _, side := range []map[string]string{a, b} {
		for p := range side {
			paths[p] = true
		}
	}
	changes := []valueChange{}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		va, inA := a[p]
		vb, inB := b[p]
		if inA && inB && va == vb {
			continue
		}
		c := valueChange{Path: p}
		if inA {
			c.A = json.RawMessage(va)
		}
		if inB {
			c.B = json.RawMessage(vb)
		}
		changes = append(changes, c)
	}
	return changes
}

// flatten turns JSON into path → value.
func flatten(prefix string, value any) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, child := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), child)
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), child)
			}
		default:
			text, _ := json.Marshal(v)
			out[path] = string(text)
		}
	}
	walk(prefix, value)
	return out
}

// sortedFields goes through what flatten gives in the order of the paths.
func sortedFields(fields map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, path := range slices.Sorted(maps.Keys(fields)) {
			if !yield(path, fields[path]) {
				return
			}
		}
	}
}

// mustJSON is a message as generic JSON. A message of ours always marshals.
func mustJSON(f proto.Message) any {
	fields, err := membersOf(f)
	if err != nil {
		panic(err)
	}
	return fields
}

func releaseRef(r *waftv1.Release) string {
	return r.GetMetadata().GetName() + "@" + r.GetStatus().GetHash()
}

func filterNames(r *waftv1.Release) []string {
	var names []string
	for _, f := range slices.Concat(r.GetSpec().GetFilters(), r.GetSpec().GetOverrides()) {
		if !slices.Contains(names, f.GetName()) {
			names = append(names, f.GetName())
		}
	}
	return names
}
