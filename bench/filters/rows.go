package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk/build"
)

// headerValue is the configuration of the headers filters: the value of the header that they add.
const headerValue = "on"

// row is one filter, and what was measured of it.
type row struct {
	name string
	// filters are Envoy's HTTP filters before the router, as JSON.
	filters []any
	// module is the filter's code, where it is Wasm; config its configuration.
	module []byte
	config string
	// token is sent with each request.
	token string
	// adds says that requests and responses get a header, which is looked at before anything is measured.
	adds bool
	// callout is the address of the server that the filter sends requests to, empty where it sends none.
	callout string
	// seen says that requests get a header, which is looked at before anything is measured.
	seen bool
	// compareWorkers has the memory of further workers measured, too.
	compareWorkers bool
	// missing says why the row could not be measured.
	missing string

	samples []float64 // CPU in microseconds a request, by round
	rss     float64   // in MB
	worker  *float64  // MB that each further worker takes
	soak    *float64  // MB of growth over many requests
}

// prepare builds the modules and makes the rows; the first is that without a filter.
func prepare(ctx context.Context, temp, only, also, callout string) ([]*row, error) {
	t, err := newToken()
	if err != nil {
		return nil, err
	}
	rows := []*row{
		{name: "none", compareWorkers: true},
		{name: "native-headers", filters: []any{headerMutation()}, adds: true},
		{name: "lua-headers", filters: []any{luaHeaders()}, adds: true},
		{name: "rust-headers", config: headerValue, adds: true, compareWorkers: true},
		{name: "gosdk-headers", config: headerValue, adds: true, compareWorkers: true},
		{name: "waft-headers", config: headerValue, adds: true, compareWorkers: true},
		{name: "native-authz", filters: t.native(true), token: t.text},
		{name: "native-authz-nocache", filters: t.native(false), token: t.text},
		{name: "waft-authz", config: t.waft(), token: t.text},
	}
	if callout != "" {
		rows = []*row{
			{name: "none"}, {name: "gosdk-callback", callout: callout, seen: true}, {name: "waft-await", callout: callout, seen: true},
		}
	}
	if only != "" {
		names := strings.Split(only, ",")
		rows = slices.DeleteFunc(rows, func(r *row) bool { return r.name != "none" && !slices.Contains(names, r.name) })
	}
	for _, module := range strings.FieldsFunc(also, func(c rune) bool { return c == ',' }) {
		name, path, _ := strings.Cut(module, "=")
		r := &row{name: name, config: headerValue}
		if r.module, err = os.ReadFile(path); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		switch r.name {
		case "rust-headers":
			r.module, r.missing = buildRust(ctx, temp)
		case "gosdk-headers":
			r.module, err = buildGo(ctx, filepath.Join(temp, "gosdk.wasm"), "./bench/filters/testdata/gosdk")
		case "gosdk-callback":
			r.module, err = buildGo(ctx, filepath.Join(temp, "callback.wasm"), "./bench/filters/testdata/callback")
		case "waft-await":
			r.module, err = buildWaft(ctx, temp, "bench/filters/testdata/await")
		case "waft-headers":
			r.module, err = buildWaft(ctx, temp, "bench/filters/testdata/waft")
		case "waft-authz":
			r.module, err = buildWaft(ctx, temp, "filters/authz")
		}
		if err != nil {
			return nil, err
		}
		if r.module != nil {
			path := filepath.Join(temp, r.name+".wasm")
			if err := os.WriteFile(path, r.module, 0o600); err != nil {
				return nil, err
			}
			r.filters = []any{wasmFilter(r.name, path, r.config)}
		}
	}
	return rows, nil
}

// buildWaft builds a filter as `waft build` does.
func buildWaft(ctx context.Context, temp, dir string) ([]byte, error) {
	result, err := build.Build(ctx, dir, build.Options{OutDir: filepath.Join(temp, "dist")})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(result.Module)
}

// buildGo builds a filter as the README of proxy-wasm-go-sdk says, without names of functions.
func buildGo(ctx context.Context, out, pkg string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return os.ReadFile(out)
}

// rustTarget is what Rust calls the system that the module is for.
const rustTarget = "wasm32-wasip1"

// buildRust builds the filter in Rust, or says what is missing. rustup, where it is, fetches the target's standard library.
func buildRust(ctx context.Context, temp string) (module []byte, missing string) {
	if _, err := exec.LookPath("cargo"); err != nil {
		return nil, "cargo is not there: install Rust (https://rustup.rs)"
	}
	if _, err := exec.LookPath("rustup"); err == nil {
		if output, err := exec.CommandContext(ctx, "rustup", "target", "add", rustTarget).CombinedOutput(); err != nil {
			return nil, "rustup target add " + rustTarget + ": " + lastLine(output, err)
		}
	}
	target := filepath.Join(temp, "rust")
	cmd := exec.CommandContext(ctx, "cargo", "build", "--quiet", "--release", "--locked", "--target", rustTarget, "--target-dir", target)
	cmd.Dir = "bench/filters/testdata/rust"
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, "cargo build: " + lastLine(output, err)
	}
	module, err := os.ReadFile(filepath.Join(target, rustTarget, "release", "bench.wasm"))
	if err != nil {
		return nil, err.Error()
	}
	return module, ""
}

func lastLine(output []byte, err error) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1] + " (" + err.Error() + ")"
}
