package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/agent"
)

// aTrustPolicy and anAccessPolicy can be read.
const (
	aTrustPolicy   = "apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: a}\nspec: {rules: [{name: a, repositories: ['a.b/**'], unsigned: true}]}\n"
	anAccessPolicy = "apiVersion: waft.dev/v1\nkind: AccessPolicy\nmetadata: {name: a}\nspec: {bindings: [{name: a, subjects: [{certificate: 'cn:ann'}], roles: [viewer]}]}\n"
)

// flagsOf are the flags of a command that a configuration is made of: what is given, what of the configuration that is, and as what it is printed where it is not printed as
// it was given.
type flagsOf[C any] map[string]struct {
	given string
	is    func(C) any
	want  string
}

// check gives all the flags at once, and looks for each of them in the configuration that comes of it. others are flags that go elsewhere. A flag that is in
// neither fails, so that no new one goes nowhere.
func (f flagsOf[C]) check(t *testing.T, cmd *cobra.Command, got *C, others ...string) {
	t.Helper()
	args := []string{}
	for name, flag := range f {
		args = append(args, "--"+name+"="+flag.given)
	}
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, flag := range f {
		want := flag.want
		if want == "" {
			want = flag.given
		}
		if is := fmt.Sprint(flag.is(*got)); is != want {
			t.Errorf("--%s=%s comes to %s, want %s", name, flag.given, is, want)
		}
	}
	known := " " + strings.Join(others, " ") + " help "
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if _, ok := f[flag.Name]; !ok && flag.Deprecated == "" && !strings.Contains(known, " "+flag.Name+" ") {
			t.Errorf("nothing says where --%s goes", flag.Name)
		}
	})
}

// Whoever starts a distributor by flags has the one that they say.
func TestFlagsOfServe(t *testing.T) {
	type config = distributor.Config
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var got config
	flags := flagsOf[config]{
		"data":                 {given: "d", is: func(c config) any { return c.Data }},
		"grpc":                 {given: "a:1", is: func(c config) any { return c.GRPC }},
		"http":                 {given: "a:2", is: func(c config) any { return c.HTTP }},
		"etcd":                 {given: "https://e1,https://e2", is: func(c config) any { return c.Etcd.Endpoints }, want: "[https://e1 https://e2]"},
		"etcd-ca":              {given: "eca", is: func(c config) any { return c.Etcd.CA }},
		"etcd-cert":            {given: "ecert", is: func(c config) any { return c.Etcd.Cert }},
		"etcd-key":             {given: "ekey", is: func(c config) any { return c.Etcd.Key }},
		"etcd-user":            {given: "euser", is: func(c config) any { return c.Etcd.User }},
		"etcd-password-file":   {given: "epass", is: func(c config) any { return c.Etcd.PasswordFile }},
		"peer":                 {given: "a:3", is: func(c config) any { return c.Peer }},
		"peer-name":            {given: "p:3", is: func(c config) any { return c.PeerName }},
		"tls-cert":             {given: "cert", is: func(c config) any { return c.TLS.Cert }},
		"tls-key":              {given: "key", is: func(c config) any { return c.TLS.Key }},
		"client-ca":            {given: "cca", is: func(c config) any { return c.TLS.ClientCA }},
		"access":               {given: put("access.yaml", anAccessPolicy), is: func(c config) any { return c.Access != nil }, want: "true"},
		"secret-key":           {given: "skey", is: func(c config) any { return c.SecretKey }},
		"insecure":             {given: "true", is: func(c config) any { return c.Insecure }},
		"name":                 {given: "n1,n2:5", is: func(c config) any { return c.Names }, want: "[n1 n2:5]"},
		"plain-http":           {given: "r1,r2:5", is: func(c config) any { return c.PlainHTTP }, want: "[r1 r2:5]"},
		"mirror":               {given: "r.example=m.example/x", is: func(c config) any { return len(c.Mirrors["r.example"]) }, want: "1"},
		"registry-ca":          {given: "rca", is: func(c config) any { return c.RegistryCA }},
		"gate-host":            {given: "g1,g2:5", is: func(c config) any { return c.GateHosts }, want: "[g1 g2:5]"},
		"freeze":               {given: "freeze.yaml", is: func(c config) any { return c.FreezeFile }},
		"max-not-serving":      {given: "5%", is: func(c config) any { return c.MaxNotServing }},
		"sink":                 {given: "n=s:1", is: func(c config) any { return c.Sinks }, want: "[{n s:1}]"},
		"sink-ca":              {given: "sca", is: func(c config) any { return c.SinkCA }},
		"cache-size":           {given: "3GiB", is: func(c config) any { return c.CacheBytes >> 30 }, want: "3"},
		"registry-retention":   {given: "25h0m0s", is: func(c config) any { return c.RegistryRetention }},
		"forget-nodes-after":   {given: "26h0m0s", is: func(c config) any { return c.ForgetNodesAfter }},
		"keep-releases":        {given: "27", is: func(c config) any { return c.KeepReleases }},
		"keep-rollouts":        {given: "28", is: func(c config) any { return c.KeepRollouts }},
		"requests-per-second":  {given: "29", is: func(c config) any { return c.RequestsPerSecond }},
		"streams-per-client":   {given: "30", is: func(c config) any { return c.StreamsPerClient }},
		"connection-age":       {given: "31h0m0s", is: func(c config) any { return c.ConnectionAge }},
		"allow-inline-secrets": {given: "true", is: func(c config) any { return c.AllowInlineSecrets }},
		"trust-policy":         {given: put("trust.yaml", aTrustPolicy), is: func(c config) any { return c.TrustPolicy != nil }, want: "true"},
		"replica":              {given: "me", is: func(c config) any { return c.Replica }},
		"addresses-file": {given: filepath.Join(dir, "addresses"), is: func(c config) any {
			c.Started(distributor.Addresses{GRPC: "g", HTTP: "h"})
			text, _ := os.ReadFile(filepath.Join(dir, "addresses"))
			return string(text)
		}, want: `{"grpc":"g","http":"h"}`},
	}
	flags.check(t, newServe(func(_ context.Context, c config) error { got = c; return nil }), &got, "profile", "log-format", "log-level")
}

// Whoever starts an agent by flags has the one that they say.
func TestFlagsOfAgent(t *testing.T) {
	type config = agent.Config
	dir := t.TempDir()
	envoy, policy := filepath.Join(dir, "envoy"), filepath.Join(dir, "trust.yaml")
	if err := os.WriteFile(envoy, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policy, []byte(aTrustPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	var got config
	flags := flagsOf[config]{
		"node":          {given: "n", is: func(c config) any { return c.Node }},
		"label":         {given: "a=b,c", is: func(c config) any { return c.Labels }, want: "map[a:b,c]"},
		"cluster":       {given: "cl", is: func(c config) any { return c.Cluster }},
		"server":        {given: "s:1", is: func(c config) any { return c.Server }},
		"modules":       {given: "m:1", is: func(c config) any { return c.Modules }},
		"insecure":      {given: "true", is: func(c config) any { return c.Insecure }},
		"trust-policy":  {given: policy, is: func(c config) any { return c.TrustPolicy != nil }, want: "true"},
		"secret-dir":    {given: "sd", is: func(c config) any { return c.SecretDirs }, want: "[sd]"},
		"secret-env":    {given: "SE_", is: func(c config) any { return c.SecretEnv }, want: "[SE_]"},
		"state":         {given: filepath.Join(dir, "state"), is: func(c config) any { return c.StateDir }},
		"resources":     {given: "res", is: func(c config) any { return c.ResourcesDir }},
		"admin":         {given: "a:1", is: func(c config) any { return c.Admin }},
		"listen":        {given: "l:1", is: func(c config) any { return c.Listen }},
		"upstream":      {given: "u:1", is: func(c config) any { return c.Upstream }},
		"bootstrap-out": {given: "bo", is: func(c config) any { return c.BootstrapOut }},
		"slot-only":     {given: "true", is: func(c config) any { return c.SlotOnly }},
		"stat-prefix":   {given: "sp", is: func(c config) any { return c.StatPrefix }},
		"envoy-log":     {given: "el", is: func(c config) any { return c.EnvoyLog }},
		"slots":         {given: "x,y", is: func(c config) any { return c.Slots }, want: "[x y]"},
		"trial":         {given: "25s", is: func(c config) any { return c.Trial }},
		"drain":         {given: "26s", is: func(c config) any { return c.Drain }},
		"cache-size":    {given: "3GiB", is: func(c config) any { return c.CacheBytes >> 30 }, want: "3"},
		"leave-envoy":   {given: "true", is: func(c config) any { return c.LeaveEnvoy }},
		"envoy-output":  {given: "true", is: func(c config) any { return c.EnvoyOutput }},
		"envoy":         {given: envoy, is: func(c config) any { return c.Envoy.Path }},
	}
	// Those of TLS are read at once; tests of TLS give them.
	flags.check(t, newAgent(func(_ context.Context, c config) error { got = c; return nil }), &got, "ca", "cert", "key", "log-format", "log-level")
	if !got.Beside {
		t.Error("without `-- envoy` the agent would run Envoy itself")
	}
}
