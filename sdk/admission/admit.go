package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/manifest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// Admission says what a module was tried with.
type Admission struct {
	// Profiles are the Envoy versions under which it was loaded: those that its manifest claims.
	Profiles []string `json:"profiles"`
	// Configurations are the scenario files whose configurations it was given, each under every profile. Empty: it has none, and was given
	// an empty configuration.
	Configurations []string `json:"configurations"`
	// Refused says, where there are no Configurations, that the empty one was refused in good order, with the reason: that the module
	// starts is then all that is known. Empty: it took that.
	Refused string `json:"refused,omitempty"`
}

// Refusal is why a module is not admitted.
type Refusal struct {
	// Module is the name in its manifest.
	Module string
	// Profile is the Envoy version; empty where the reason is none of one Envoy.
	Profile string
	// Configuration is the scenario file; empty: the empty configuration, or none yet.
	Configuration string
	// Reason says what happened.
	Reason string
	// Words are the guest's last ones: a line of its log, or what it wrote when it crashed. May be empty.
	Words string
	// Next says what to do.
	Next string
	// Err is the cause, or nil.
	Err error
}

// Error puts the parts into one line.
func (r *Refusal) Error() string {
	s := "not admitted: " + r.Module
	if r.Profile != "" {
		s += " on " + r.Profile
	}
	switch {
	case r.Configuration != "":
		s += " with the configuration of " + r.Configuration
	case r.Profile != "":
		s += " with an empty configuration"
	}
	s += ": " + r.Reason
	if r.Words != "" {
		s += fmt.Sprintf(" (its last words: %q)", r.Words)
	}
	return s + "; " + r.Next
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Admit loads a module under each profile that its manifest claims, and configures it with each of its scenarios' configurations, in a VM
// of its own each time, with the clusters there that the file names. A configuration must be accepted, or refused with the words that the
// file wants. A module without scenarios gets an empty configuration, which it may refuse, since many filters need one; but it must not
// crash. What is decided depends on the arguments alone; a call into the module that does not end is ended by the host's deadline.
//
// step is told the profile and the scenario file that are tried next; nil: nobody. The error is a *Refusal, ErrScenarios, or ctx's.
func Admit(ctx context.Context, host *wasmhost.Host, wasm []byte, m manifest.Manifest, scenarios Scenarios, step func(string)) (Admission, error) {
	if step == nil {
		step = func(string) {}
	}
	files, err := scenarios.parse()
	if err != nil {
		return Admission{}, fmt.Errorf("admit %s: %w", m.Name, err)
	}
	if len(m.Envoys) == 0 {
		return Admission{}, &Refusal{Module: m.Name, Reason: "its manifest claims no Envoy version that can load it", Next: "run `waft build` again, and `waft check` to see why"}
	}
	a := Admission{Profiles: m.Envoys, Configurations: []string{}}
	for _, f := range files {
		a.Configurations = append(a.Configurations, f.Path)
	}
	for _, name := range m.Envoys {
		profile, err := wasmhost.ProfileByName(name)
		if err != nil {
			return Admission{}, &Refusal{Module: m.Name, Profile: name, Reason: "its manifest claims an Envoy version that is not known here", Next: "publish it with the waft that built it, or build it again", Err: err}
		}
		step(name)
		module, err := host.Load(ctx, wasm, profile)
		if ctx.Err() != nil {
			return Admission{}, context.Cause(ctx)
		}
		if err != nil {
			return Admission{}, &Refusal{Module: m.Name, Profile: name, Reason: "it cannot be loaded, and its manifest says it can: " + oneLine(err.Error()), Next: "build it again, with a manifest that is true", Err: err}
		}
		if len(files) == 0 {
			if a.Refused, err = admitEmpty(ctx, module, m.Name); err != nil {
				return Admission{}, err
			}
			continue
		}
		for _, f := range files {
			step(name + ", " + f.Path)
			if err := admitFile(ctx, module, m.Name, f); err != nil {
				return Admission{}, err
			}
		}
	}
	return a, nil
}

// admitEmpty starts a module of which nothing is known with an empty configuration, and says why it refused that, if it did.
func admitEmpty(ctx context.Context, module *wasmhost.Module, name string) (refused string, err error) {
	got, err := filtertest.Start(ctx, module, filtertest.File{}, filtertest.Options{Name: name})
	if err != nil || got.Err == nil {
		return "", err
	}
	if errors.Is(got.Err, wasmhost.ErrConfigure) {
		return oneLine(strings.Join(append([]string{wasmhost.ErrConfigure.Error()}, lastWords(got)), ": ")), nil
	}
	return "", refusal(module, name, "", got)
}

func admitFile(ctx context.Context, module *wasmhost.Module, name string, f filtertest.File) error {
	got, err := filtertest.Start(ctx, module, f, filtertest.Options{Name: name})
	if err != nil {
		return err
	}
	if f.ConfigError == "" {
		if got.Err == nil {
			return nil
		}
		return refusal(module, name, f.Path, got)
	}
	r := refusal(module, name, f.Path, got)
	r.Next = "mend the filter, or the file's configError, and see `waft test`"
	switch {
	case got.Err == nil:
		r.Reason = fmt.Sprintf("it was accepted, and must be refused with %q", f.ConfigError)
	case !slices.ContainsFunc(got.Logs, func(line string) bool { return strings.Contains(line, f.ConfigError) }):
		r.Reason = fmt.Sprintf("it was refused, and no line of the log has %q", f.ConfigError)
	default:
		return nil
	}
	return r
}

// refusal says that a module does not run.
func refusal(module *wasmhost.Module, name, configuration string, got filtertest.Started) *Refusal {
	r := &Refusal{
		Module: name, Profile: module.Profile().Name(), Configuration: configuration, Words: lastWords(got), Err: got.Err,
		Next: "mend the filter, and see `waft test`",
	}
	var trap *wasmhost.TrapError
	switch {
	case errors.As(got.Err, &trap):
		r.Reason = oneLine(fmt.Sprintf("%s failed: %s", trap.Callback, trap.Reason))
	case errors.Is(got.Err, wasmhost.ErrConfigure):
		r.Reason = wasmhost.ErrConfigure.Error()
	case got.Err != nil:
		r.Reason = oneLine(got.Err.Error())
	}
	return r
}

// lastWords are what the guest said last.
func lastWords(got filtertest.Started) string {
	var trap *wasmhost.TrapError
	if errors.As(got.Err, &trap) {
		// A panic's message comes first, and its stack behind it.
		first, _, _ := strings.Cut(strings.TrimSpace(trap.Log), "\n")
		return oneLine(first)
	}
	if n := len(got.Logs); n > 0 {
		return oneLine(got.Logs[n-1])
	}
	return ""
}

// maxWords is how much of what a guest says is repeated, in bytes.
const maxWords = 400

// oneLine makes words of a guest fit on a line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}
