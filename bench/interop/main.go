// Command interop tries what waft publishes with clients that are not ours, and what they publish with waft: every client with every layout, in
// every direction, at every registry; and has cosign and waft judge signatures that were tampered with. It prints a table for each registry,
// writes bench/out/interop.json, and fails when a cell does.
//
// `make interop` fetches and builds the clients first. Everything happens on the loopback interface.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"

	"github.com/waft-project/waft/registry/registrytest"
)

func main() {
	var t tools
	folder := flag.String("tools", filepath.Join(".cache", "tools"), "the folder with oras, crane, cosign and istiofetch")
	flag.StringVar(&t.waft, "waft", filepath.Join("bin", "waft"), "the program waft")
	flag.StringVar(&t.skopeo, "skopeo", filepath.Join(".cache", "tools", "skopeo"), "the program skopeo")
	flag.StringVar(&t.registry, "docker-registry", filepath.Join(".cache", "tools", "docker-registry"), "Debian's docker-registry")
	module := flag.String("module", filepath.Join("dist", "headers.wasm"), "the module to publish, with its manifest beside it")
	out := flag.String("out", filepath.Join("bench", "out", "interop.json"), "where the cells go")
	flag.Parse()
	t.oras, t.crane = filepath.Join(*folder, "oras"), filepath.Join(*folder, "crane")
	t.cosign, t.istio = filepath.Join(*folder, "cosign"), filepath.Join(*folder, "istiofetch")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, t, *module, *out); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, to io.Writer, t tools, module, out string) (err error) {
	for _, path := range []*string{&t.waft, &t.oras, &t.crane, &t.cosign, &t.istio, &t.skopeo, &t.registry, &module} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
		if _, err := os.Stat(*path); err != nil {
			return fmt.Errorf("%w; run `make interop`, which makes it", err)
		}
	}
	wasm, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	imgs, err := images(wasm)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "waft-interop-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	var cells []cell
	tell := func(c cell) {
		fmt.Fprintf(os.Stderr, "%s: %s %s %s: %s\n", c.Registry, c.Client, c.Direction, c.Layout, c.OK)
	}
	for i, r := range registries(t) {
		w := &workshop{tools: t, dir: filepath.Join(scratch, fmt.Sprint(i)), module: module, wasm: wasm, images: imgs}
		if err := os.Mkdir(w.dir, 0o700); err != nil {
			return err
		}
		if err := w.makeKeys(ctx); err != nil {
			return err
		}
		endpoint, end, err := r.start(ctx, w.dir)
		if err != nil {
			return fmt.Errorf("start %s: %w", r.name, err)
		}
		w.endpoint = endpoint
		matrix, err := w.matrix(ctx, r.name, tell)
		cells = append(cells, matrix...)
		if err == nil {
			var more []cell
			more, err = w.verdicts(ctx, r.name, tell)
			cells = append(cells, more...)
		}
		if err := errors.Join(err, end()); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if err := printTable(to, cells); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"cells": cells}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if n := number(cells, bad); n > 0 {
		return fmt.Errorf("%d of %d cells failed", n, len(cells))
	}
	return nil
}

// registryAt is a registry that can be started. What it keeps goes below dir, if anywhere.
type registryAt struct {
	name  string
	start func(ctx context.Context, dir string) (registrytest.Endpoint, func() error, error)
}

func registries(t tools) []registryAt {
	embedded := func(wrap func(http.Handler) http.Handler) func(context.Context, string) (registrytest.Endpoint, func() error, error) {
		return func(context.Context, string) (registrytest.Endpoint, func() error, error) {
			handler, shutdown := registrytest.Distribution(configuration.Storage{"inmemory": nil})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return registrytest.Endpoint{}, nil, errors.Join(err, shutdown())
			}
			server := &http.Server{Handler: wrap(handler)}
			go func() { _ = server.Serve(l) }() // ends with Close
			end := func() error { return errors.Join(server.Close(), shutdown()) }
			return registrytest.Endpoint{Host: l.Addr().String(), PlainHTTP: true}, end, nil
		}
	}
	return []registryAt{
		{"distribution 3, as it is embedded", embedded(func(h http.Handler) http.Handler { return h })},
		{"distribution 3 with a referrers API before it", embedded(func(h http.Handler) http.Handler { return registrytest.NewReferrersAPI(h) })},
		{"Debian's docker-registry (distribution 2.8)", func(ctx context.Context, dir string) (registrytest.Endpoint, func() error, error) {
			return registrytest.StartProgram(ctx, t.registry, dir)
		}},
	}
}

// makeKeys has cosign make the key that signs, and one that signs nothing. Their password is empty.
func (w *workshop) makeKeys(ctx context.Context) error {
	for _, prefix := range []string{"signing", "other"} {
		if _, err := w.cosign(ctx, w.dir, "generate-key-pair", "--output-key-prefix", prefix); err != nil {
			return err
		}
	}
	w.key, w.pub, w.otherPub = filepath.Join(w.dir, "signing.key"), filepath.Join(w.dir, "signing.pub"), filepath.Join(w.dir, "other.pub")
	return nil
}
