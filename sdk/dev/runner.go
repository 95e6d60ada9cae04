package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// Identity of the Envoy, which file-based ECDS wants.
const (
	nodeID      = "waft-dev"
	nodeCluster = "waft-dev"
)

// pollInterval is how often Envoy's statistics are read while something is awaited of it.
const pollInterval = 20 * time.Millisecond

// logFlush is how many milliseconds a request's line may be kept back.
const logFlush = "100"

// runner is the Envoy that runs.
type runner struct {
	process *envoy.Process
	admin   *envoy.Admin
	slots   string           // the folder of the slots' files
	metrics map[string]int64 // as they were shown last
}

func (r *runner) close() { r.admin.Close() }

func (s *session) filter(c candidate) envoy.WasmFilter {
	return envoy.WasmFilter{Name: s.name, ModulePath: c.module, Config: c.config}
}

// version names a candidate in a slot. A slot takes no notice of a version that it has.
func (s *session) version(c candidate) string {
	s.swaps++
	return fmt.Sprintf("%s#%d", c.sha256[:12], s.swaps)
}

// launch starts an Envoy that serves a candidate.
func (s *session) launch(ctx context.Context, c candidate) (err error) {
	dir, err := os.MkdirTemp(s.temp, "envoy-")
	if err != nil {
		return err
	}
	r := &runner{slots: filepath.Join(dir, "slots"), metrics: map[string]int64{}}
	if err := os.Mkdir(r.slots, 0o700); err != nil {
		return err
	}
	bootstrap := envoy.BootstrapConfig{
		NodeID: nodeID, Cluster: nodeCluster, Number: s.number, Listen: s.Listen, SlotDir: r.slots,
		Default: []envoy.WasmFilter{s.filter(c)}, Upstream: s.places.upstream, Clusters: s.places.clusters,
		Preload: s.number.HasFilterChain(),
	}
	if !s.number.HasFilterChain() {
		bootstrap.SlotFilters = []string{s.name}
	}
	rendered, err := bootstrap.Render()
	if err != nil {
		return err
	}
	if rendered, err = logRequests(rendered); err != nil {
		return err
	}
	if err := s.write(r.slots, c, s.version(c)); err != nil {
		return err
	}
	if bootstrap.Preload {
		if err := preload(r.slots, nil, "empty"); err != nil {
			return err
		}
	}
	level := "wasm:debug"
	if s.Trace {
		level = "wasm:trace"
	}
	if r.process, err = envoy.Start(ctx, s.Binary, envoy.ProcessConfig{
		Dir: dir, Bootstrap: rendered, LogLevel: "warning", ComponentLogLevel: level, Log: s.screen, NoLogFile: true,
		Args: []string{"--file-flush-interval-msec", logFlush}, // the access log counts as a file
	}); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	err = r.process.Ready(ready)
	if err == nil {
		r.admin, err = r.process.Admin(ready)
	}
	if err != nil {
		return errors.Join(err, r.process.Kill(), os.RemoveAll(dir))
	}
	s.runner = r
	return nil
}

// write puts a candidate into the slot that serves.
func (s *session) write(slots string, c candidate, version string) error {
	files, err := envoy.Slots(s.number, []envoy.WasmFilter{s.filter(c)}, version)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := f.Write(slots); err != nil {
			return err
		}
	}
	return nil
}

// preload puts filters into the slot that serves nobody, so that Envoy compiles their modules.
func preload(slots string, filters []envoy.WasmFilter, version string) error {
	content, err := envoy.Chain(envoy.PreloadSlotName, filters, version)
	if err != nil {
		return err
	}
	return envoy.SlotFile{Slot: envoy.PreloadSlotName, Content: content}.Write(slots)
}

// swap has Envoy load a candidate while the last good one serves, then serve it. A candidate that Envoy refuses is taken out again.
func (s *session) swap(ctx context.Context, c candidate) error {
	r := s.runner
	if s.number.HasFilterChain() {
		version := s.version(c)
		err := r.change(ctx, envoy.PreloadSlotName, version, func() error {
			return preload(r.slots, []envoy.WasmFilter{s.filter(c)}, version)
		})
		if err != nil {
			return errors.Join(err, preload(r.slots, nil, s.version(c)))
		}
	}
	slot := envoy.SlotName
	if !s.number.HasFilterChain() {
		slot = envoy.FilterSlotName(s.name)
	}
	version := s.version(c)
	if err := r.change(ctx, slot, version, func() error { return s.write(r.slots, c, version) }); err != nil {
		return errors.Join(err, s.write(r.slots, s.good, s.version(s.good)))
	}
	if s.number.HasFilterChain() {
		return preload(r.slots, nil, s.version(c)) // what serves stays loaded
	}
	return nil
}

// change changes a slot's file, and waits until Envoy serves it or has refused it.
func (r *runner) change(ctx context.Context, slot, version string, write func() error) error {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	before, err := r.slot(ctx, slot)
	if err != nil {
		return err
	}
	position := r.process.Log().Position()
	if err := write(); err != nil {
		return err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("envoy did not take it within %s: %w", loadLimit, context.Cause(ctx))
		case <-r.process.Done():
			return r.process.Wait(ctx)
		case <-ticker.C:
		}
		now, err := r.slot(ctx, slot)
		switch {
		case err != nil: // it is busy loading
		case now.rejected > before.rejected:
			r.process.Log().Await(ctx, position, envoy.IsRejection)
			lines, _ := r.process.Log().Since(position)
			return fmt.Errorf("envoy refuses it: %s", strings.Join(envoy.Reasons(lines), "; "))
		case now.version == version && now.reloads > before.reloads:
			return nil
		}
	}
}

// slotState is what Envoy says of a slot.
type slotState struct {
	version           string
	reloads, rejected int64
}

func (r *runner) slot(ctx context.Context, slot string) (slotState, error) {
	prefix := envoy.SlotStats(slot)
	stats, err := r.admin.Stats(ctx, "^extension_config_discovery")
	return slotState{stats.Texts[prefix+"version_text"], stats.Values[prefix+"config_reload"], stats.Values[prefix+"update_rejected"]}, err
}

// logRequests adds an access log to the connection manager that serves: a line on standard output for each request.
func logRequests(bootstrap []byte) ([]byte, error) {
	var b map[string]any
	if err := json.Unmarshal(bootstrap, &b); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	manager, ok := dig(b, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config").(map[string]any)
	if !ok {
		return nil, errors.New("bootstrap: its first listener has no connection manager")
	}
	logs, _ := manager["access_log"].([]any)
	manager["access_log"] = append(logs, map[string]any{
		"name": "envoy.access_loggers.stdout",
		"typed_config": map[string]any{
			"@type":      "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
			"log_format": map[string]any{"text_format_source": map[string]any{"inline_string": requestFormat}},
		},
	})
	return json.Marshal(b)
}

// dig finds a value in decoded JSON, by names and indices.
func dig(v any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}
