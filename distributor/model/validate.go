package model

import (
	"errors"
	"fmt"
	"time"
)

// Limits of a release.
const (
	// MaxFilters is how many filters and overrides a release may have together.
	MaxFilters = 64
	// MaxConfig is the size of one filter's config, in bytes.
	MaxConfig = 256 << 10
	// MaxRelease is the size of all configs of a release together, in bytes; it keeps a release within one etcd request.
	MaxRelease = 1 << 20
	// MaxModule is the size of a module, in bytes.
	MaxModule = 256 << 20
	// MaxReference is the length of a module's reference, in bytes.
	MaxReference = 1024
)

// Limits of a rollout.
const (
	MaxWaves    = 64
	MaxGates    = 16
	MaxSoak     = 30 * 24 * time.Hour
	MaxDeadline = 30 * 24 * time.Hour
)

// ValidateRelease checks a resolved release, hash apart; every problem is an *Error of kind ErrInvalid that names the
// field, all of them joined.
func ValidateRelease(r Release) error {
	object := "release/" + shorten(r.ID.Name)
	problems := []error{
		ValidateName(object, "metadata.name", r.ID.Name),
		ValidateLayer(object, "metadata.layer", r.Layer),
		validateFilters(object, "spec.filters", r.Filters),
		validateFilters(object, "spec.overrides", r.Overrides),
		validateResources(object, r),
		validateDisabling(object, r),
	}
	if n := len(r.Filters) + len(r.Overrides); n > MaxFilters {
		problems = append(problems, Invalidf(object, "spec.filters", "split the release by layer", "%d filters and overrides are more than %d", n, MaxFilters))
	}
	size := 0
	secrets := map[SecretRef]bool{}
	for _, filters := range [][]FilterSpec{r.Filters, r.Overrides} {
		for _, f := range filters {
			size += len(f.Config)
			uses, _ := Secrets(f.Config) // what is wrong with one was said above
			for _, use := range uses {
				secrets[use.Ref] = true
				if of := use.Ref.Layer; of != "" && of != r.Layer {
					problems = append(problems, Invalidf(object, "spec", "set one of its own layer (waft secret set --layer), and name that",
						"filter %s, config%s: a secret of layer %s is not for a release of layer %s", shorten(f.Name), use.Path, of, r.Layer))
				}
			}
		}
	}
	if len(secrets) > MaxChainSecrets {
		problems = append(problems, Invalidf(object, "spec", "name fewer", "the configs name %d secrets, more than %d", len(secrets), MaxChainSecrets))
	}
	if size > MaxRelease {
		problems = append(problems, Invalidf(object, "spec", "shorten the configs", "the configs have %d bytes together, more than %d", size, MaxRelease))
	}
	return errors.Join(problems...)
}

func validateFilters(object, field string, filters []FilterSpec) error {
	var problems []error
	first := map[string]int{}
	for i, f := range filters {
		at := fmt.Sprintf("%s[%d]", field, i)
		problems = append(problems, validateFilter(object, at, f))
		if j, again := first[f.Name]; again {
			problems = append(problems, Invalidf(object, at+".name", "give each filter once", "%q stands in %s[%d] already", shorten(f.Name), field, j))
			continue
		}
		first[f.Name] = i
	}
	return errors.Join(problems...)
}

func validateFilter(object, at string, f FilterSpec) error {
	problems := []error{
		ValidateName(object, at+".name", f.Name),
		validateModule(object, at+".module", f.Module),
		validateConfig(object, at+".config", f.Config),
		validatePolicy(object, at, f),
	}
	switch f.Phase {
	case PhaseNone, PhaseAuthn, PhaseAuthz, PhaseStats:
	default:
		problems = append(problems, Invalidf(object, at+".phase", "use AUTHN, AUTHZ or STATS, or leave it out", "there is no phase %q", shorten(string(f.Phase))))
	}
	return errors.Join(problems...)
}

func validatePolicy(object, at string, f FilterSpec) error {
	switch f.FailurePolicy {
	case "", FailReload, FailClosed:
		return nil
	case FailOpen:
		return CheckFailOpen(object, at+".failurePolicy", f)
	default:
		return Invalidf(object, at+".failurePolicy", "use FAIL_RELOAD, FAIL_CLOSED or FAIL_OPEN", "there is no failure policy %q", shorten(string(f.FailurePolicy)))
	}
}

// CheckFailOpen refuses FAIL_OPEN for a filter of phase AUTHN or AUTHZ: a broken filter must not let everybody in.
func CheckFailOpen(object, field string, f FilterSpec) error {
	if f.FailurePolicy != FailOpen || !f.Guards() {
		return nil
	}
	return Invalidf(object, field, "use FAIL_RELOAD or FAIL_CLOSED", "FAIL_OPEN would let every request past the %s filter %s while it is broken", f.Phase, f.Name)
}

func validateModule(object, at string, m *Module) error {
	if m == nil {
		return nil
	}
	problems := []error{
		ValidateDigest(object, at+".artifact", m.Artifact),
		ValidateDigest(object, at+".digest", m.Digest),
		ValidateLists(object, at+".lists", m.Lists),
	}
	if m.Size < 1 || m.Size > MaxModule {
		problems = append(problems, Invalidf(object, at+".size", "build a smaller module", "a module has 1 to %d bytes, not %d", MaxModule, m.Size))
	}
	if len(m.Reference) > MaxReference {
		problems = append(problems, Invalidf(object, at+".reference", "shorten it", "the reference has %d bytes, more than %d", len(m.Reference), MaxReference))
	}
	return errors.Join(problems...)
}

func validateConfig(object, at string, config []byte) error {
	if config == nil {
		return nil
	}
	if len(config) > MaxConfig {
		return Invalidf(object, at, "shorten it", "the config has %d bytes, more than %d", len(config), MaxConfig)
	}
	if _, err := Canonical(config); err != nil {
		return configError(object, at, err)
	}
	_, err := validateSecrets(object, at, config)
	return err
}

// ValidateRolloutSpec checks what a person asked for, with the release resolved; object names it in the errors
// (rollout/NAME). Every problem is an *Error of kind ErrInvalid that names the field, all of them joined.
func ValidateRolloutSpec(object string, s RolloutSpec) error {
	return errors.Join(
		ValidateName(object, "spec.release", s.Release.Name),
		ValidateDigest(object, "spec.release", s.Release.Hash),
		validateSelector(object, "spec.target.selector", s.Selector),
		validateCap(object, "spec.maxNotServing", s.MaxNotServing),
		ValidateFreeze(object, "spec.freeze", s.Freeze),
		ValidateWaves(object, "spec.waves", s.Waves),
	)
}

// ValidateWaves checks waves alone, as an undo needs; field is their path (spec.waves). No waves are right: they mean one
// wave of everything.
func ValidateWaves(object, field string, waves []WaveSpec) error {
	if len(waves) > MaxWaves {
		return Invalidf(object, field, "use fewer waves", "%d waves are more than %d", len(waves), MaxWaves)
	}
	var problems []error
	// reached is the most that earlier waves of the same cohort ask for, by count and by percentage.
	var reached WaveSpec
	for i, w := range waves {
		at := fmt.Sprintf("%s[%d]", field, i)
		if w.Cohort != reached.Cohort {
			reached = WaveSpec{Cohort: w.Cohort}
		}
		problems = append(problems,
			validateShare(object, at, w),
			validateGrowth(object, at, reached, w),
			validateDuration(object, at+".soak", w.Soak, MaxSoak),
			validateDuration(object, at+".deadline", w.Deadline, MaxDeadline),
			validateGates(object, at+".gates", w.Gates),
			validateCohortGates(object, at, w),
		)
		reached.Nodes, reached.Percent = max(reached.Nodes, w.Nodes), max(reached.Percent, w.Percent)
	}
	if n := len(RolloutSpec{Waves: waves}.Statistics()); n > MaxStatistics {
		problems = append(problems, Invalidf(object, field, "use fewer", "%d statistics are more than %d, over all gates", n, MaxStatistics))
	}
	return errors.Join(append(problems, validateCohorts(object, field, waves))...)
}

func validateShare(object, at string, w WaveSpec) error {
	given := 0
	for _, is := range []bool{w.Nodes != 0, w.Percent != 0, w.Selector != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return Invalidf(object, at, "give one of nodes, percent and selector", "%d of nodes, percent and selector are given", given)
	case w.Nodes < 0:
		return Invalidf(object, at+".nodes", "use 1 or more", "%d nodes cannot be", w.Nodes)
	case w.Percent < 0 || w.Percent > 100:
		return Invalidf(object, at+".percent", "use 1 to 100", "%d is no share of the target", w.Percent)
	case w.Selector != "":
		return validateSelector(object, at+".selector", w.Selector)
	}
	return nil
}

// validateGrowth refuses a share that an earlier wave has reached for sure: shares are cumulative, so it would do nothing.
func validateGrowth(object, at string, reached, w WaveSpec) error {
	const next = "shares are over the whole target and include the nodes moved before; use a larger one"
	if w.Percent > 0 && reached.Percent >= w.Percent {
		return Invalidf(object, at+".percent", next, "%d %% is not more than the %d %% of an earlier wave", w.Percent, reached.Percent)
	}
	if w.Nodes > 0 && reached.Nodes >= w.Nodes {
		return Invalidf(object, at+".nodes", next, "%d nodes are not more than the %d of an earlier wave", w.Nodes, reached.Nodes)
	}
	return nil
}

func validateSelector(object, field, text string) error {
	_, err := ParseSelector(text)
	if err == nil {
		return nil
	}
	if problem, ok := errors.AsType[*Error](err); ok {
		return Invalidf(object, field, problem.Next, "%s", problem.Message)
	}
	return Invalidf(object, field, "correct it", "%s", err)
}

func validateDuration(object, field string, d, limit time.Duration) error {
	if d < 0 || d > limit {
		return Invalidf(object, field, fmt.Sprintf("use 0s to %s", limit), "%s cannot be", d)
	}
	return nil
}

// validateCap takes any number of nodes; zero is no cap.
func validateCap(object, field string, n int) error {
	if n < 0 {
		return Invalidf(object, field, "use 1 or more, or leave it out", "%d nodes cannot be", n)
	}
	return nil
}
