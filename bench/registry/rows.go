package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// candidate is a program that does the job of a row.
type candidate struct {
	name string
	// empty starts the program for nothing, args for the job in a folder of its own; i is the round.
	empty []string
	args  func(dir string, i int) []string

	times, starts, rss []float64
	blobs              int
}

// race runs the candidates in turns and adds a row for each.
func (b *bench) race(ctx context.Context, check func(dir string) error, candidates ...*candidate) error {
	for i := range b.rounds + 1 {
		for k := range candidates {
			c := candidates[(i+k)%len(candidates)] // none always comes first
			start, _, err := b.timed(ctx, "", c.empty)
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp(b.dir, c.name+"-")
			if err != nil {
				return err
			}
			b.upstream.takeMoved()
			took, rss, err := b.timed(ctx, dir, c.args(dir, i))
			if err != nil {
				return err
			}
			if err := check(dir); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if i == 0 {
				continue // everything is read from the disk for the first time
			}
			c.times, c.starts, c.rss, c.blobs = append(c.times, took), append(c.starts, start), append(c.rss, rss), b.upstream.takeMoved()
		}
	}
	for _, c := range candidates {
		b.rows = append(b.rows, row{Name: c.name, Seconds: max(median(c.times)-median(c.starts), 0), Start: median(c.starts), RSS: median(c.rss), Blobs: c.blobs})
	}
	return nil
}

// measured is what a command took.
type measured struct {
	Seconds float64
	RSS     float64 // MB
}

// timed runs a command to its end, and until what it wrote into dir is on the disk. It gives seconds and MB. The command is run by
// another process of this program (measure), since the system counts to a process's memory that of the one that started it.
func (b *bench) timed(ctx context.Context, dir string, args []string) (seconds, rss float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{measureWord, dir}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+b.dir)
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	var m measured
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return 0, 0, err
	}
	return m.Seconds, m.RSS, nil
}

// measureWord is the first argument of this program when it is to run one command.
const measureWord = "measure-one-command"

// measure runs a command and prints what it took.
func measure(dir string, args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	if dir != "" {
		if err := syncTree(dir); err != nil {
			return err
		}
	}
	m := measured{Seconds: time.Since(begin).Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.RSS = float64(usage.Maxrss) / 1024 // Linux counts KiB
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// filter builds the filter that modules are made of.
func (b *bench) filter(ctx context.Context) (string, error) {
	dist := filepath.Join(b.dir, "dist")
	path := filepath.Join(dist, "headers.wasm")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, _, err := b.timed(ctx, "", []string{b.waft, "build", "--out", dist, "./filters/headers"})
	return path, err
}

// published makes a module and publishes it, and gives its file and its digest.
func (b *bench) published(ctx context.Context, name string, size int) (path, digest string, err error) {
	filter, err := b.filter(ctx)
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(b.dir, name+".wasm")
	if digest, err = writeModule(path, filter, size); err != nil {
		return "", "", err
	}
	_, _, err = b.timed(ctx, "", []string{b.waft, "push", "--no-admission", "--plain-http", b.upstream.host, path, b.upstream.host + "/filters/" + name + ":1"})
	return path, digest, err
}

// pulls fetches a module into an empty folder.
func (b *bench) pulls(ctx context.Context) error {
	_, digest, err := b.published(ctx, "module", moduleBytes)
	if err != nil {
		return err
	}
	ref := b.upstream.host + "/filters/module:1"
	blob := "http://" + b.upstream.host + "/v2/filters/module/blobs/sha256:" + digest
	check := func(dir string) error {
		var total int64
		err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				total += info.Size()
			}
			return err
		})
		if err == nil && total < moduleBytes {
			err = fmt.Errorf("it wrote %d bytes", total)
		}
		return err
	}
	return b.race(ctx, check,
		&candidate{name: "waft-cold", empty: []string{b.waft, "--version"}, args: func(dir string, _ int) []string {
			return []string{b.waft, "pull", "--plain-http", b.upstream.host, ref, "-O", filepath.Join(dir, "m.wasm")}
		}},
		&candidate{name: "curl-cold", empty: []string{"curl", "--version"}, args: func(dir string, _ int) []string {
			return []string{"curl", "-fsS", "-o", filepath.Join(dir, "m.wasm"), blob}
		}},
		&candidate{name: "oras-cold", empty: []string{b.oras, "version"}, args: func(dir string, _ int) []string {
			return []string{b.oras, "pull", "--plain-http", "--no-tty", "-o", dir, ref}
		}},
		&candidate{name: "crane-cold", empty: []string{b.crane, "version"}, args: func(dir string, _ int) []string {
			return []string{b.crane, "pull", "--insecure", "--format", "oci", ref, filepath.Join(dir, "layout")}
		}},
	)
}

// pushes publishes the module, which waft does with a second artifact beside it: the module's manifest. Each goes
// to a repository that has nothing. The transport alone is compared, without waft's admission.
func (b *bench) pushes(ctx context.Context) error {
	module := filepath.Join(b.dir, "module.wasm")
	nothing := func(string) error { return nil }
	return b.race(ctx, nothing,
		&candidate{name: "waft-push", empty: []string{b.waft, "--version"}, args: func(_ string, i int) []string {
			return []string{b.waft, "push", "--no-admission", "--plain-http", b.upstream.host, module, fmt.Sprintf("%s/push/waft-%d:1", b.upstream.host, i)}
		}},
		&candidate{name: "oras-push", empty: []string{b.oras, "version"}, args: func(_ string, i int) []string {
			return []string{b.oras, "push", "--plain-http", "--no-tty", "--disable-path-validation", fmt.Sprintf("%s/push/oras-%d:1", b.upstream.host, i),
				module + ":application/vnd.module.wasm.content.layer.v1+wasm"}
		}},
		// As much as waft publishes: the module, and its manifest attached.
		&candidate{name: "oras-push-attach", empty: []string{"sh", "-c", "$0 version && $0 version", b.oras}, args: func(_ string, i int) []string {
			const script = "$0 push --plain-http --no-tty --disable-path-validation $1 $2:application/vnd.module.wasm.content.layer.v1+wasm && " +
				"$0 attach --plain-http --no-tty --disable-path-validation --artifact-type application/vnd.waft.manifest.v1+json $1 $3:application/vnd.waft.manifest.v1+json"
			ref := fmt.Sprintf("%s/push/oras-attach-%d:1", b.upstream.host, i)
			return []string{"sh", "-c", script, b.oras, ref, module, strings.TrimSuffix(module, ".wasm") + ".json"}
		}},
	)
}

// large moves a module that is many times as large as the memory that may be used.
func (b *bench) large(ctx context.Context) error {
	path, _, err := b.published(ctx, "large", largeBytes)
	if err != nil {
		return err
	}
	ref := b.upstream.host + "/filters/large:1"
	for _, one := range []struct {
		name string
		args []string
	}{
		{"waft-pull-200MB", []string{b.waft, "pull", "--plain-http", b.upstream.host, ref, "-O", filepath.Join(b.dir, "large-pulled.wasm")}},
		{"waft-push-200MB", []string{b.waft, "push", "--no-admission", "--plain-http", b.upstream.host, path, b.upstream.host + "/push/large:1"}},
	} {
		b.upstream.takeMoved()
		took, rss, err := b.timed(ctx, "", one.args)
		if err != nil {
			return err
		}
		b.rows = append(b.rows, row{Name: one.name, Seconds: took, RSS: rss, Blobs: b.upstream.takeMoved()})
	}
	return nil
}
