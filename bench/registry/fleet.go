package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/waft-project/waft/registry"
)

// warm pulls a module twice into one cache, as a distributor does; the second time is the row.
func (b *bench) warm(ctx context.Context) error {
	ref, err := registry.ParseReference(b.upstream.host + "/filters/module:1")
	if err != nil {
		return err
	}
	client, err := b.client(filepath.Join(b.dir, "warm"), b.upstream.host)
	if err != nil {
		return err
	}
	artifact, _, err := client.Pull(ctx, ref, nil)
	if err != nil {
		return err
	}
	b.upstream.takeMoved()
	begin := time.Now()
	if _, err := client.FetchModule(ctx, ref, artifact.Module.Digest, artifact.Module.Size); err != nil {
		return err
	}
	b.rows = append(b.rows, row{Name: "waft-warm", Seconds: time.Since(begin).Seconds(), Blobs: b.upstream.takeMoved()})
	return nil
}

func (b *bench) client(dir, host string) (*registry.Client, error) {
	cache, err := registry.OpenCache(dir)
	if err != nil {
		return nil, err
	}
	return registry.NewClient(registry.Config{
		Cache: cache, PlainHTTP: []string{host},
		Credentials: func(context.Context, string) (registry.Credential, error) { return registry.Credential{}, nil },
	})
}

// fleet has many agents ask one distributor at once for a module that the distributor's disk has lost: the hardest case, in which it
// must get it from upstream while all of them wait. Each agent has a cache of its own, as on a node.
func (b *bench) fleet(ctx context.Context) (err error) {
	ref := b.upstream.host + "/filters/module:1"
	addresses := filepath.Join(b.dir, "addresses.json")
	data := filepath.Join(b.dir, "distributor")
	log, err := os.Create(filepath.Join(b.dir, "distributor.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	serve := exec.CommandContext(ctx, b.waft, "serve", "--insecure", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--addresses-file", addresses, "--plain-http", b.upstream.host)
	serve.Stdout, serve.Stderr = log, log
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	if err := serve.Start(); err != nil {
		return err
	}
	defer func() {
		_ = serve.Process.Signal(os.Interrupt)
		_ = serve.Wait() // ended by us
		if err != nil {
			if text, rerr := os.ReadFile(log.Name()); rerr == nil {
				err = fmt.Errorf("%w; the distributor said: %s", err, text)
			}
		}
	}()
	grpc, host, err := awaitServing(ctx, addresses)
	if err != nil {
		return err
	}
	release := filepath.Join(b.dir, "release.yaml")
	text := "apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: bench}\nspec:\n  filters:\n  - {name: headers, module: '" + ref + "', config: {}}\n"
	if err := os.WriteFile(release, []byte(text), 0o644); err != nil {
		return err
	}
	if _, _, err := b.timed(ctx, "", []string{b.waft, "release", "create", "--insecure", "--server", grpc, "-f", release}); err != nil {
		return err
	}
	blob, err := theModule(filepath.Join(data, "modules", "blobs", "sha256"))
	if err != nil {
		return err
	}
	if err := os.Remove(blob); err != nil {
		return err
	}
	repository := registry.Reference{Registry: host, Repository: "waft/modules"}
	digest, err := registry.ParseDigest("sha256:" + filepath.Base(blob))
	if err != nil {
		return err
	}

	clients := make([]*registry.Client, b.agents)
	for i := range clients {
		if clients[i], err = b.client(filepath.Join(b.dir, "agents", fmt.Sprint(i)), host); err != nil {
			return err
		}
	}
	b.upstream.watched.Store(digest.Hex())
	errs := make([]error, b.agents)
	begin := time.Now()
	var agents sync.WaitGroup
	for i, c := range clients {
		agents.Go(func() { _, errs[i] = c.FetchModule(ctx, repository, digest, moduleBytes) })
	}
	agents.Wait()
	r := row{Name: "agents", Seconds: time.Since(begin).Seconds(), Blobs: int(b.upstream.fetched.Load())}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.rows = append(b.rows, r)
	return nil
}

// theModule is the file of the one module in a folder of blobs; the others are the rest of its image.
func theModule(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Size() == moduleBytes {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", fmt.Errorf("the distributor holds no module of %d bytes", moduleBytes)
}

// awaitServing waits until a distributor is ready, and gives its addresses.
func awaitServing(ctx context.Context, addresses string) (grpc, host string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		grpc, host, err = readAddresses(ctx, addresses)
		if err == nil {
			return grpc, host, nil
		}
		select {
		case <-ctx.Done():
			return "", "", fmt.Errorf("the distributor did not become ready: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func readAddresses(ctx context.Context, path string) (grpc, host string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	var a struct{ GRPC, HTTP string }
	if err := json.Unmarshal(text, &a); err != nil {
		return "", "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.HTTP+"/readyz", nil)
	if err != nil {
		return "", "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("/readyz answers %s", resp.Status)
	}
	return a.GRPC, a.HTTP, nil
}
