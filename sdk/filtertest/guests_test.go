package filtertest

import (
	"fmt"
	"os"
	"testing"

	"github.com/waft-project/waft/envoy/envoytest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestGuestsAreAlike runs the two guests of the tests of Envoys and agents, that in Go and the small one that stands for it: what one does the other does.
func TestGuestsAreAlike(t *testing.T) {
	t.Parallel()
	const plain = "scenarios:\n- name: a request\n  request: {headers: {x-canary: \"1\"}}\n- name: another\n"
	var files []File
	for i, text := range []string{
		"config: fine\n" + plain, "config: '\"quoted\"'\n" + plain, "config: fail\n" + plain, "config: deny\n" + plain, "config: tamper\n" + plain, plain,
		"config: refuse\nconfigError: the guest refuses its configuration\n",
		"config: gossip of it\nconfigError: the guest refuses the configuration gossip of it\n",
		"config: panic\nconfigError: \"\"\n" + plain,
	} {
		f, err := Parse(fmt.Sprintf("%d.yaml", i), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	host, profiles := newHost(t), wasmhost.Profiles()
	var reports []Report
	for _, build := range []func(dir, flavour string) (string, error){envoytest.BuildGuest, envoytest.SmallGuest} {
		path, err := build(t.TempDir(), "other")
		if err != nil {
			t.Fatal(err)
		}
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		report, err := RunWasm(t.Context(), host, module, files, profiles[len(profiles)-1], Options{Name: "one"})
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	for _, m := range Compare(reports[0], reports[1]) {
		t.Errorf("the guest in Go and the small one differ: %s", m)
	}
	// Else they may be alike in doing nothing.
	if got := reports[1].Scenarios[0].Observed.Exchanges[0].Response.Headers; fmt.Sprint(got["x-one"], got["x-one-flavour"]) != "[fine] [other]" {
		t.Errorf("the small guest answers %v", got)
	}
}
