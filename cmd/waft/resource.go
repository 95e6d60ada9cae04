package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func newApply() *cobra.Command {
	var server serverFlags
	var out output
	var file, reason string
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Store resources of a layer's collections: all of a file, or nothing",
		Long: `Apply stores the resources and the declarations of collections in a file, which may hold several documents. All are stored, or none. It changes
nothing that a node runs: a release takes what is stored, and a rollout brings it. A document with metadata.version, as get prints it, is refused
where somebody else has changed the resource since.`,
		Example: "  waft apply -f flags.yaml --reason 'checkout v2 for staff'",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			resources, collections, err := readResources(cmd, file)
			if err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				applied, err := c.Resources.ApplyResources(ctx, &waftv1.ApplyResourcesRequest{Resources: resources, Collections: collections, Reason: reason})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), applied, func(t *table) { drawApplied(t, applied) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	fileFlag(cmd, &file)
	reasonFlag(cmd, &reason)
	return cmd
}

// readResources reads a file of documents of kind Resource and Collection.
func readResources(cmd *cobra.Command, file string) ([]*waftv1.Resource, []*waftv1.Collection, error) {
	if file == "" {
		return nil, nil, usagef("%s: -f FILE is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
	}
	text, err := readInput(cmd, file, api.MaxFileBytes)
	if err != nil {
		return nil, nil, err
	}
	documents, err := api.DecodeDocuments(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	var resources []*waftv1.Resource
	var collections []*waftv1.Collection
	for i, d := range documents {
		switch d := d.(type) {
		case *waftv1.Resource:
			resources = append(resources, d)
		case *waftv1.Collection:
			collections = append(collections, d)
		default:
			return nil, nil, fmt.Errorf("%s: document %d is of kind %s; `%s` takes Resource and Collection", file, i+1, d.ProtoReflect().Descriptor().Name(), cmd.CommandPath())
		}
	}
	return resources, collections, nil
}

// drawApplied is a line for each document.
func drawApplied(t *table, a *waftv1.ApplyResourcesResponse) {
	t.row("CHANGE", "LAYER", "COLLECTION", "NAME", "VERSION")
	for _, c := range a.GetCollections() {
		t.row(c.GetChange(), "-", c.GetNow().GetMetadata().GetName(), "-", short(c.GetNow().GetMetadata().GetVersion()))
	}
	for _, r := range a.GetResources() {
		m := r.GetNow().GetMetadata()
		if m == nil {
			m = r.GetBefore().GetMetadata()
		}
		t.row(r.GetChange(), m.GetLayer(), m.GetCollection(), m.GetName(), short(r.GetNow().GetMetadata().GetVersion()))
	}
}

func newGet() *cobra.Command {
	var server serverFlags
	var out output
	var layer string
	cmd := &cobra.Command{
		Use:   "get [COLLECTION [NAME]]",
		Short: "Show the resources that layers have stored",
		Example: `  waft get
  waft get flags --layer team/pay
  waft get flags checkout-v2 -o yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			return exactArgs([]string{"COLLECTION", "NAME"}[:min(len(args), 2)]...)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				if len(args) == 2 {
					r, err := c.Resources.GetResource(ctx, &waftv1.GetResourceRequest{Collection: args[0], Name: args[1], Layer: layer})
					if err != nil {
						return err
					}
					return out.print(cmd.OutOrStdout(), r, func(t *table) { drawResources(t, []*waftv1.Resource{r}) })
				}
				all, err := pages(func(token string) ([]*waftv1.StoredCollection, string, error) {
					page, err := c.Resources.ListResources(ctx, &waftv1.ListResourcesRequest{
						Collection: strings.Join(args, ""), Layer: layer, PageSize: pageSize, PageToken: token,
					})
					return page.GetCollections(), page.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				list, err := items(all)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), map[string]any{"collections": list}, func(t *table) {
					if len(args) == 0 {
						t.row("LAYER", "COLLECTION", "RESOURCES", "VERSION")
						for _, c := range all {
							t.row(c.GetLayer(), c.GetName(), len(c.GetResources()), short(c.GetVersion()))
						}
						return
					}
					var resources []*waftv1.Resource
					for _, c := range all {
						resources = append(resources, c.GetResources()...)
					}
					drawResources(t, resources)
				})
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&layer, "layer", "", "global, team/NAME or service/NAME (default: all layers; of one resource: global)")
	return cmd
}

func drawResources(t *table, resources []*waftv1.Resource) {
	now := time.Now()
	t.row("LAYER", "COLLECTION", "NAME", "TYPE", "VERSION", "AGE", "BY")
	for _, r := range resources {
		m := r.GetMetadata()
		t.row(m.GetLayer(), m.GetCollection(), m.GetName(), typeOf(r), short(m.GetVersion()), age(r.GetStatus().GetUpdatedAt(), now), dash(r.GetStatus().GetUpdatedBy()))
	}
}

// typeOf is the full name of a resource's message.
func typeOf(r *waftv1.Resource) string {
	url := r.GetSpec().GetStructValue().GetFields()["@type"].GetStringValue()
	name := dash(url[strings.LastIndexByte(url, '/')+1:])
	if r.GetStatus().GetOpaque() {
		name += " (opaque)"
	}
	return name
}

func newDelete() *cobra.Command {
	var server serverFlags
	var out output
	var file, layer, reason string
	cmd := &cobra.Command{
		Use:   "delete COLLECTION NAME… | -f FILE",
		Short: "Remove resources that a layer has stored",
		Long: `Delete removes resources from what a layer has stored: all that are named, or none. Releases that took them keep them, and nodes that run such a
release as well, until a rollout brings another one.`,
		Example: `  waft delete flags checkout-v2 --layer team/pay --reason 'it is everywhere'
  waft delete -f flags.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if file == "" && len(args) < 2 {
				return exactArgs("COLLECTION", "NAME")(cmd, args)
			}
			if file != "" && (len(args) > 0 || layer != "") {
				return usagef("%s: -f FILE says which; leave out COLLECTION, NAME and --layer", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			request := &waftv1.DeleteResourcesRequest{Reason: reason}
			if file != "" {
				resources, collections, err := readResources(cmd, file)
				if err != nil {
					return err
				}
				if len(collections) > 0 {
					return fmt.Errorf("%s: the declaration of a collection cannot be deleted; apply one without lists instead", file)
				}
				request.Resources = resources
			}
			for _, name := range args[min(1, len(args)):] {
				request.Resources = append(request.Resources, &waftv1.Resource{Metadata: &waftv1.ResourceMetadata{Collection: args[0], Name: name, Layer: layer}})
			}
			return server.call(cmd, func(ctx context.Context, c *api.Client) error {
				deleted, err := c.Resources.DeleteResources(ctx, request)
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), deleted, func(t *table) { drawApplied(t, deleted) })
			})
		},
	}
	server.flags(cmd)
	out.flag(cmd)
	fileFlag(cmd, &file)
	reasonFlag(cmd, &reason)
	cmd.Flags().StringVar(&layer, "layer", "", "global (the default), team/NAME or service/NAME")
	return cmd
}

// diffResources prints what applying a file would change, and says whether that is anything.
func diffResources(ctx context.Context, c *api.Client, w io.Writer, resources []*waftv1.Resource, collections []*waftv1.Collection) (bool, error) {
	d, err := c.Resources.DiffResources(ctx, &waftv1.DiffResourcesRequest{Resources: resources, Collections: collections})
	if err != nil {
		return false, err
	}
	differs := false
	show := func(change, what string, before, now proto.Message) error {
		if change == "unchanged" {
			return nil
		}
		differs = true
		fmt.Fprintf(w, "%s %s\n", printable(what), change)
		a, err := fieldsOf(before)
		if err != nil {
			return err
		}
		b, err := fieldsOf(now)
		if err != nil {
			return err
		}
		for _, c := range diff(a, b) {
			for _, line := range c.lines() {
				fmt.Fprintln(w, printable(line))
			}
		}
		return nil
	}
	for _, one := range d.GetCollections() {
		if err := show(one.GetChange(), "collection "+one.GetNow().GetMetadata().GetName(), one.GetBefore().GetSpec(), one.GetNow().GetSpec()); err != nil {
			return false, err
		}
	}
	for _, one := range d.GetResources() {
		m := one.GetNow().GetMetadata()
		what := fmt.Sprintf("resource %s:%s of layer %s", m.GetCollection(), m.GetName(), m.GetLayer())
		if err := show(one.GetChange(), what, one.GetBefore().GetSpec(), one.GetNow().GetSpec()); err != nil {
			return false, err
		}
	}
	return differs, nil
}

// fieldsOf are the fields of a specification by their paths; none of one that is not there.
func fieldsOf(m proto.Message) (map[string]string, error) {
	if !m.ProtoReflect().IsValid() {
		return nil, nil
	}
	fields, err := membersOf(m)
	if err != nil {
		return nil, err
	}
	return flatten("spec", fields), nil
}
