package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/manifest"
)

// measure is one fleet's row.
func (b *bench) measure(ctx context.Context, dir string, nodes int) (r row, err error) {
	profiles := ""
	if b.profiles != "" {
		profiles = filepath.Join(b.profiles, strconv.Itoa(nodes))
	}
	d, err := serve(ctx, b.waft, dir, profiles)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	client, err := api.Dial(api.ClientConfig{Address: d.GRPC, Insecure: true, Actor: "bench"})
	if err != nil {
		return row{}, err
	}
	defer client.Close()
	for _, release := range []string{"one", "two"} {
		if err := publish(ctx, d.HTTP, release); err != nil {
			return row{}, err
		}
		text := fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n  - {name: f, module: '%s/filters/f:%s'}\n", release, d.HTTP, release)
		m, err := api.DecodeDocument([]byte(text))
		if err != nil {
			return row{}, err
		}
		if _, err := client.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: m.(*waftv1.Release)}); err != nil {
			return row{}, err
		}
	}
	f, err := launch(ctx, d.GRPC, nodes, b.step)
	if err != nil {
		return row{}, err
	}
	defer f.close()

	if _, err := b.roll(ctx, client, "one", []*waftv1.Wave{{Percent: 100}}, nil); err != nil {
		return row{}, err
	}
	if got := f.serving.Load(); got != int64(nodes) {
		return row{}, fmt.Errorf("only %d nodes serve the first release", got)
	}
	before, err := d.quiet(ctx)
	if err != nil {
		return row{}, err
	}
	// What was profiled so far is of the first rollout.
	if err := forget(profiles); err != nil {
		return row{}, err
	}

	var spec []*waftv1.Wave
	for i := range waves {
		spec = append(spec, &waftv1.Wave{Percent: int32(100 * (i + 1) / waves), Soak: b.soak.String(), Gates: []*waftv1.Gate{
			{ErrorRatio: &waftv1.ErrorRatioGate{Max: 0.01}},
		}})
	}
	var running time.Duration
	w := &watcher{fleet: f, pids: [2]int{d.pid, os.Getpid()}}
	ended, err := b.roll(ctx, client, "two", spec, func(s *waftv1.RolloutStatus) (err error) {
		w.see(s)
		if running == 0 && s.GetPhase() == "Soaking" && int(s.GetWave()) == waves {
			running, err = status(ctx, client, "two")
		}
		return err
	})
	if err != nil {
		return row{}, err
	}
	after, err := d.quiet(ctx)
	if err != nil {
		return row{}, err
	}
	if err := f.err(); err != nil {
		return row{}, err
	}
	over, err := status(ctx, client, "two")
	if err != nil {
		return row{}, err
	}

	r = row{Nodes: nodes, StatusMS: ms(max(running, over))}
	var p99, mean float64
	r.Decisions, mean, p99 = after.spent(decisionMetric, before)
	r.DecisionMeanMS, r.DecisionMS = 1000*mean, 1000*p99
	_, _, p99 = after.spent(writeMetric, before)
	r.StoreMS = 1000 * p99
	grown := func(name string) float64 { return after.value(name) - before.value(name) }
	r.Writes, r.Transactions = grown(putsMetric)/float64(nodes), int(grown(proposalsMetric))
	r.CPU = 1000 * grown(cpuMetric) / float64(nodes)
	r.RSS, r.Disk = after.value(rssMetric)/1e6, after.value(diskMetric)/1e6
	if r.Parts, err = w.parts(ended.GetStatus(), b.step); err != nil {
		return row{}, err
	}
	r.OwnSeconds = r.Parts.own()
	if r.IdleShare, err = d.idle(ctx, b.alone); err != nil {
		return row{}, err
	}
	f.close()
	r.Again, err = b.comeBack(ctx, d, nodes)
	return r, err
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// rolloutLimit bounds one rollout; what takes longer is stuck.
const rolloutLimit = 10 * time.Minute

// roll starts a rollout of a release under its name, and follows it to its end. It calls see, if that is set, with all that is seen of it.
func (b *bench) roll(ctx context.Context, client *api.Client, release string, spec []*waftv1.Wave, see func(*waftv1.RolloutStatus) error) (*waftv1.Rollout, error) {
	ctx, cancel := context.WithTimeout(ctx, rolloutLimit)
	defer cancel()
	if _, err := client.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: release}, Spec: &waftv1.RolloutSpec{Release: release, Waves: spec},
	}}); err != nil {
		return nil, err
	}
	watch, err := client.Rollouts.WatchRollout(ctx, &waftv1.WatchRolloutRequest{Name: release})
	if err != nil {
		return nil, err
	}
	for {
		r, err := watch.Recv()
		if err != nil {
			return nil, fmt.Errorf("rollout/%s: %w", release, err)
		}
		switch phase := r.GetStatus().GetPhase(); phase {
		case "Done":
			return r, nil
		case "Paused", "RollingBack", "RolledBack", "Aborted":
			return nil, fmt.Errorf("rollout/%s is %s: %s", release, phase, r.GetStatus().GetMessage())
		}
		if see != nil {
			if err := see(r.GetStatus()); err != nil {
				return nil, err
			}
		}
	}
}

// readings is how often the status is read; the median counts.
const readings = 5

// status is how long it takes to read a whole rollout.
func status(ctx context.Context, client *api.Client, name string) (time.Duration, error) {
	var took []time.Duration
	for range readings {
		begun := time.Now()
		if _, err := client.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: name}); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// How quiet looks: nothing was written for quietFor, seen every quietEvery.
const (
	quietFor   = time.Second
	quietEvery = 100 * time.Millisecond
)

// quiet waits until the distributor has written what it knows, and gives its figures then.
func (d *distributor) quiet(ctx context.Context) (figures, error) {
	var last figures
	for since := time.Now(); ; {
		now, err := d.scrape(ctx)
		if err != nil {
			return nil, err
		}
		if last == nil || now.value(putsMetric) != last.value(putsMetric) {
			last, since = now, time.Now()
		} else if time.Since(since) > quietFor {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(quietEvery):
		}
	}
}

// forget removes the profiles of the CPU that are whole.
func forget(profiles string) error {
	if profiles == "" {
		return nil
	}
	slices, err := filepath.Glob(filepath.Join(profiles, "cpu-*.pprof"))
	for _, path := range slices {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// publish pushes a module that does nothing, made its own by a custom section, under a tag.
func publish(ctx context.Context, host, tag string) error {
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{host}})
	if err != nil {
		return err
	}
	ref, err := registry.ParseReference(host + "/filters/f:" + tag)
	if err != nil {
		return err
	}
	section := append([]byte{1, 'x'}, tag...)
	wasm := slices.Concat([]byte("\x00asm\x01\x00\x00\x00\x00"), []byte{byte(len(section))}, section)
	sum := sha256.Sum256(wasm)
	raw, err := manifest.Manifest{
		Name: "f", Version: "1.0.0", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(wasm)), ABI: manifest.ABI021,
		Imports: []string{}, Envoys: []string{"envoy-1.36", "envoy-1.40"}, MemoryMax: 64 << 20, ConfigSchema: json.RawMessage(`{"type":"object"}`),
	}.Encode()
	if err != nil {
		return err
	}
	_, err = client.Push(ctx, ref, registry.Module{
		Content: bytes.NewReader(wasm), Size: int64(len(wasm)), Name: "f", Version: "1.0.0", ABIVersions: []string{manifest.ABI021}, Manifest: raw,
	}, nil)
	return err
}
