package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// releaseHeader is set on every answer by the filter headers, so that an answer says which release it passed through.
const releaseHeader = "X-Waft-Demo-Release"

// target is the selector of the demo's rollouts.
const target = "env=demo"

// object is a piece of a YAML or JSON document.
type object = map[string]any

// filterOf is one filter of a release document.
func filterOf(name, module, phase string, config object) object {
	f := object{"name": name, "module": module, "config": config}
	if phase != "" {
		f["phase"] = phase
	}
	return f
}

// waves of a rollout.
type waves []object

var (
	// everywhere moves all nodes at once: for the first release there is nothing to be careful about.
	everywhere = waves{{"percent": 100, "soak": "1s"}}
	// gently is one node, half of them, all, each looked at before the next.
	gently = waves{
		{"nodes": 1, "soak": "4s", "gates": []object{errorRatio}},
		{"percent": 50, "soak": "3s", "gates": []object{errorRatio}},
		{"percent": 100, "soak": "2s", "gates": []object{errorRatio}},
	}
	// errorRatio fails a wave whose nodes answer more than one request in twenty with 5xx.
	errorRatio = object{"errorRatio": object{"max": 0.05, "minSamples": 20}}
)

// rollOut creates release number n from the filters and rolls it out, as a person would: two documents, two commands. It
// returns when the rollout has ended; an error that is refused means that it did not end as Done.
func (d *run) rollOut(ctx context.Context, n int, filters []object, in waves) error {
	release := object{
		"apiVersion": "waft.dev/v1", "kind": "Release",
		"metadata": object{"name": "edge"},
		"spec":     object{"filters": filters},
	}
	path, err := d.document(fmt.Sprintf("release-%d.json", n), release)
	if err != nil {
		return err
	}
	var created struct {
		Status struct {
			Hash string `json:"hash"`
		} `json:"status"`
	}
	if err := d.fleet.JSON(ctx, &created, "release", "create", "-f", path, "--reason", "demo"); err != nil {
		// A release that is not created was never rolled out: not what a caller takes for a refused rollout.
		return errors.New(err.Error())
	}
	d.progress.note("release edge@%s", created.Status.Hash)
	rollout := object{
		"apiVersion": "waft.dev/v1", "kind": "Rollout",
		"metadata": object{"name": rolloutName(n)},
		"spec": object{
			"release": "edge@" + created.Status.Hash,
			"target":  object{"selector": target},
			"waves":   in,
		},
	}
	if path, err = d.document(fmt.Sprintf("rollout-%d.json", n), rollout); err != nil {
		return err
	}
	start := []string{"rollout", "start", "-f", path, "--reason", "demo", "--follow", "-o", "json"}
	_, err = d.fleet.Command(ctx, d.progress.note, append(start, d.fleet.Server()...)...)
	return err
}

func rolloutName(n int) string { return fmt.Sprintf("edge-%d", n) }

// rolloutPhase is how rollout n stands, and why.
func (d *run) rolloutPhase(ctx context.Context, n int) (phase, why string, err error) {
	var r struct {
		Status struct {
			Phase   string `json:"phase"`
			Message string `json:"message"`
		} `json:"status"`
	}
	err = d.fleet.JSON(ctx, &r, "rollout", "status", rolloutName(n))
	return r.Status.Phase, r.Status.Message, err
}

// document writes a document where a command can read it. JSON is YAML.
func (d *run) document(name string, content object) (string, error) {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.fleet.Dir, name)
	return path, os.WriteFile(path, text, 0o600)
}
