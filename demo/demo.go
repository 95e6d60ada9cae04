package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// Config of a run.
type Config struct {
	// Waft is the path of the program itself.
	Waft string
	// Envoy is the path of the Envoy binary.
	Envoy string
	// Root is the checkout that holds the filters' sources.
	Root string
	// Out gets the steps and the summary, for a person.
	Out io.Writer
}

// Periods of the load: what is going on while a request is sent.
const (
	periodRelease2 = "release 2"
	periodRelease3 = "release 3"
	periodRelease4 = "release 4"
	periodAfter    = "after"
)

const (
	// proofLimit is how long a release that was rolled out may take to show in every node's answers.
	proofLimit = 30 * time.Second
	// loadLimit is how long the load goes on at the end until enough requests were sent.
	loadLimit = time.Minute
)

// Run runs the demo. The result is returned also when a step failed, with what was measured until then. No process and no
// file is left behind, whatever happens; ctx ends the run early.
func Run(ctx context.Context, config Config) (result Result, err error) {
	started := time.Now()
	dir, err := os.MkdirTemp("", "waft-demo-")
	if err != nil {
		return result, err
	}
	d := &run{
		fleet:    fleet.New(fleet.Config{Waft: config.Waft, Envoy: config.Envoy, Root: config.Root, Dir: dir}),
		progress: newProgress(config.Out),
		result:   &result,
	}
	defer func() {
		if d.load != nil {
			d.load.Stop()
		}
		if stopErr := d.fleet.Stop(); stopErr != nil {
			err = errors.Join(err, fmt.Errorf("clean up: %w", stopErr))
		}
		result.Seconds = round(time.Since(started).Seconds())
		if err != nil && !errors.Is(err, ErrNotHeld) {
			result.Failures = append(result.Failures, err.Error())
			result.OK = false
		}
		if writeErr := result.write(config.Root); writeErr != nil {
			err = errors.Join(err, writeErr)
		}
		result.summary(config.Out)
	}()
	for _, step := range d.steps() {
		if err := d.progress.step(step.title, func() error { return step.do(ctx) }); err != nil {
			return result, fmt.Errorf("%s: %w", step.title, err)
		}
		if err := d.fleet.Alive(); err != nil {
			return result, fmt.Errorf("%s: %w", step.title, err)
		}
	}
	result.judge()
	if !result.OK {
		return result, ErrNotHeld
	}
	return result, nil
}

// ErrNotHeld means that every step ran and something that they must show did not hold; Result.Failures says what.
var ErrNotHeld = errors.New("the main job does not hold")

// run is one run of the demo.
type run struct {
	fleet    *fleet.Fleet
	progress *progress
	result   *Result
	signer   *signer
	visitors []fleet.Visitor
	load     *fleet.Load
	digests  map[string]string // module (with its version) to sha256
	bad      []string          // nodes that release 3 reached
}

type step struct {
	title string
	do    func(context.Context) error
}

// steps is the main job.
func (d *run) steps() []step {
	return []step{
		{"build the filters", d.build},
		{"run their scenarios as compiled Wasm", d.scenarios},
		{"start the distributor, the upstream and four agents", d.start},
		{"publish the modules", d.publish},
		{"release 1: roll out to all four Envoys", d.release1},
		{"release 1: ask every Envoy as an admin, as a user and as nobody", d.ask},
		{"release 2, a changed module and a changed config: one node, half, all, under load", d.release2},
		{"release 3 loads and then fails requests: the gate takes it back", d.release3},
		{"release 4 cannot be loaded: the probe stops it", d.release4},
		{"count", d.count},
	}
}

// shipped are the filters that waft comes with.
var shipped = []string{"authz", "headers", "metrics"}

func (d *run) build(ctx context.Context) error {
	var dirs []string
	for _, name := range shipped {
		dirs = append(dirs, "./filters/"+name)
	}
	if err := d.buildInto(ctx, "1", "1.0.0", dirs...); err != nil {
		return err
	}
	if err := d.buildInto(ctx, "bad", "1.0.0", "./demo/filters/failing", "./demo/filters/unloadable"); err != nil {
		return err
	}
	second, remove, err := secondHeaders(d.fleet.Root)
	if err != nil {
		return err
	}
	return errors.Join(d.buildInto(ctx, "2", "2.0.0", second), remove())
}

func (d *run) buildInto(ctx context.Context, out, version string, dirs ...string) error {
	args := append([]string{"build", "--out", filepath.Join(d.fleet.Dir, "dist", out), "--version", version}, dirs...)
	_, err := d.fleet.Command(ctx, d.progress.note, args...)
	return err
}

func (d *run) scenarios(ctx context.Context) error {
	args := []string{"test", "-o", "json"}
	for _, name := range shipped {
		args = append(args, "./filters/"+name)
	}
	report, err := d.fleet.Command(ctx, nil, args...)
	if err != nil {
		return err
	}
	var summary struct {
		Passed int `json:"passed"`
		Failed int `json:"failed"`
	}
	if err := json.Unmarshal(report, &summary); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	if summary.Passed == 0 || summary.Failed != 0 {
		return fmt.Errorf("%d scenarios passed, %d failed", summary.Passed, summary.Failed)
	}
	d.result.Scenarios = summary.Passed
	d.progress.note("%d scenarios passed", summary.Passed)
	return nil
}

func (d *run) start(ctx context.Context) error {
	var err error
	if d.signer, err = newSigner(); err != nil {
		return err
	}
	if d.visitors, err = visitors(d.signer); err != nil {
		return err
	}
	if err := d.fleet.StartUpstream(ctx); err != nil {
		return err
	}
	if err := d.fleet.StartServe(ctx); err != nil {
		return err
	}
	for i := range envoys {
		if _, err := d.fleet.StartAgent(fmt.Sprintf("edge-%d", i+1), "env=demo", fmt.Sprintf("zone=%c", 'a'+i%2)); err != nil {
			return err
		}
	}
	if err := d.fleet.Connected(ctx); err != nil {
		return err
	}
	d.result.Envoys = len(d.fleet.Nodes())
	return nil
}

func (d *run) publish(ctx context.Context) error {
	d.digests = map[string]string{}
	for _, m := range []struct{ file, repository, tag string }{
		{"1/authz", "authz", "1.0.0"}, {"1/headers", "headers", "1.0.0"}, {"1/metrics", "metrics", "1.0.0"},
		{"2/headers", "headers", "2.0.0"},
		{"bad/failing", "failing", "1.0.0"}, {"bad/unloadable", "unloadable", "1.0.0"},
	} {
		file := filepath.Join(d.fleet.Dir, "dist", m.file+".wasm")
		var pushed struct {
			Module struct {
				Digest string `json:"digest"`
			} `json:"module"`
		}
		args := []string{"push", file, d.ref(m.repository, m.tag)}
		if m.repository == "unloadable" {
			// waft push would not have it: here it is the rollout's turn to find out.
			args = append(args, "--no-admission")
		}
		if err := d.fleet.JSON(ctx, &pushed, args...); err != nil {
			return err
		}
		d.digests[m.repository+":"+m.tag] = pushed.Module.Digest
		d.progress.note("%s:%s  %s", m.repository, m.tag, pushed.Module.Digest)
	}
	return nil
}

// ref is where the demo publishes a filter: the distributor's own registry.
func (d *run) ref(repository, tag string) string {
	return d.fleet.HTTP() + "/filters/" + repository + ":" + tag
}

func (d *run) release1(ctx context.Context) error {
	if err := d.rollOut(ctx, 1, d.firstRelease(), everywhere); err != nil {
		return err
	}
	return d.proveServing(ctx, "1")
}

// ask sends one request of every kind to every Envoy, and looks for the custom metric in Envoy's statistics.
func (d *run) ask(ctx context.Context) error {
	for _, n := range d.fleet.Nodes() {
		for _, v := range d.visitors {
			a, err := fleet.Ask(ctx, n.Listen, v)
			if err != nil {
				return fmt.Errorf("%s: %w", n.ID, err)
			}
			d.progress.note("%s: %s on %s gets %d", n.ID, v.Name, v.Path, a.Status)
		}
	}
	readings, err := d.counted(ctx, func(r fleet.Reading) bool { return r.SumPrefix(requestsStat) > 0 })
	if err != nil {
		return err
	}
	for id, r := range readings {
		if r.SumPrefix(requestsStat) == 0 {
			return fmt.Errorf("%s: Envoy's statistics hold no %s; they hold %s", id, requestsStat,
				strings.Join(slices.Sorted(maps.Keys(r.Counters)), " "))
		}
	}
	d.progress.note("every Envoy counts %s", requestsStat)
	return nil
}

// countTime is how long the demo waits for what filters have counted: they tell Envoy a moment later.
const countTime = 10 * time.Second

// counted reads the statistics of all Envoys until each shows what is wanted, or countTime is over.
func (d *run) counted(ctx context.Context, wanted func(fleet.Reading) bool) (map[string]fleet.Reading, error) {
	over := time.After(countTime)
	ticker := time.NewTicker(countTime / 100)
	defer ticker.Stop()
	for {
		readings, err := d.fleet.Read(ctx)
		if err != nil {
			return nil, err
		}
		all := true
		for _, r := range readings {
			all = all && wanted(r)
		}
		if all {
			return readings, nil
		}
		select {
		case <-ticker.C:
		case <-over:
			return readings, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (d *run) release2(ctx context.Context) error {
	d.load = fleet.StartLoad(ctx, d.fleet.Listeners(), d.visitors)
	d.load.Enter(periodRelease2)
	if err := d.rollOut(ctx, 2, d.secondRelease(), gently); err != nil {
		return err
	}
	if err := d.proveServing(ctx, "2"); err != nil {
		return err
	}
	after, err := d.counted(ctx, func(r fleet.Reading) bool { return r.Counters[secondStat] > 0 })
	if err != nil {
		return err
	}
	compiled := fleet.NodesWhere(after, func(_ string, r fleet.Reading) bool { return r.Counters[secondStat] > 0 })
	d.result.Release2NewModule = len(compiled) == envoys && d.digests["headers:1.0.0"] != d.digests["headers:2.0.0"]
	d.progress.note("headers is %s now; %s run it, by their own statistics", d.digests["headers:2.0.0"], strings.Join(compiled, " "))
	return nil
}

func (d *run) release3(ctx context.Context) error {
	d.load.Enter(periodRelease3)
	touched, err := d.rolledBack(ctx, 3, d.failingRelease())
	if err != nil {
		return err
	}
	d.result.RolledBack = true
	d.bad = touched
	d.result.BadReleaseNodesReached = len(d.bad)
	d.progress.note("release 3 was on %s, by Envoy's own statistics", strings.Join(d.bad, " "))
	return nil
}

func (d *run) release4(ctx context.Context) error {
	d.load.Enter(periodRelease4)
	touched, err := d.rolledBack(ctx, 4, d.unloadableRelease())
	if err != nil {
		return err
	}
	d.result.UnloadableNodesReached = len(touched)
	return nil
}

// rolledBack rolls a bad release out, which must end with every node on release 2 again, by its answers. It returns the
// nodes that the release reached.
func (d *run) rolledBack(ctx context.Context, n int, filters []object) ([]string, error) {
	before, err := d.fleet.Read(ctx)
	if err != nil {
		return nil, err
	}
	err = d.rollOut(ctx, n, filters, gently)
	if err == nil {
		return nil, errors.New("the rollout of a bad release ended well")
	}
	if !fleet.Refused(err) {
		return nil, err
	}
	phase, why, err := d.rolloutPhase(ctx, n)
	if err != nil {
		return nil, err
	}
	d.progress.note("%s: %s", phase, why)
	if phase != "RolledBack" {
		return nil, fmt.Errorf("the rollout ended as %s: %s", phase, why)
	}
	// From here on a failed request is nobody's fault but waft's.
	if err := d.proveServing(ctx, "2"); err != nil {
		return nil, err
	}
	after, err := d.fleet.Read(ctx)
	if err != nil {
		return nil, err
	}
	return reached(before, after), nil
}

// reached lists the nodes whose Envoys were touched between two readings, by their own statistics: they were offered a
// chain, made a VM, or answered 5xx.
func reached(before, after map[string]fleet.Reading) []string {
	return fleet.NodesWhere(after, func(id string, r fleet.Reading) bool {
		b := before[id]
		return r.Attempts() != b.Attempts() || r.Created() != b.Created() || r.ServerErrors() != b.ServerErrors()
	})
}

// count goes on with the load until it has sent enough, stops it, and adds up.
func (d *run) count(ctx context.Context) error {
	d.load.Enter(periodAfter)
	err := fleet.WaitFor(ctx, "enough requests", loadLimit, func(context.Context) error {
		if sent, _ := d.load.Total(fleet.Everything); sent < minRequests {
			return fleet.NotYetf("%d of %d were sent", sent, minRequests)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.load.Stop()
	all, failed := d.load.Total(fleet.Everything)
	_, onBad := d.load.Total(func(node, period string) bool {
		return period == periodRelease3 && slices.Contains(d.bad, node)
	})
	d.result.Requests, d.result.FailedOnBadNode, d.result.FailedRequests = all, onBad, failed-onBad
	if d.result.FailedRequests > 0 {
		for _, line := range d.load.Failures() {
			d.progress.note("%s", line)
		}
	}
	return nil
}

// proveServing waits until every Envoy's own answers say that they passed through a release.
func (d *run) proveServing(ctx context.Context, release string) error {
	admin := d.visitors[0]
	for _, n := range d.fleet.Nodes() {
		err := fleet.WaitFor(ctx, n.ID+" to answer through release "+release, proofLimit, func(ctx context.Context) error {
			a, err := fleet.Ask(ctx, n.Listen, admin)
			if err != nil {
				return fleet.NotYetf("%v", err)
			}
			if got := a.Header.Get(releaseHeader); got != release {
				return fleet.NotYetf("%s says %s: %q", n.ID, releaseHeader, got)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
