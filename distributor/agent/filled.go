package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// Limits of what is filled, in bytes: one secret may stand in many places, and what escapes it makes it longer.
const (
	// maxFilledConfig bounds a configuration with its secrets in it.
	maxFilledConfig = 1 << 20
	// maxFilledChain bounds all of a chain that have secrets in them together, and the values, as JSON writes them. The state holds three such chains, and is bounded itself:
	// see sealedLimit.
	maxFilledChain = 4 << 20
)

// heldSecret is a secret whose value stands in the filters of a chain.
type heldSecret struct {
	// Ref is what names it.
	Ref     string `json:"ref"`
	Version string `json:"version"`
	Value   string `json:"value"`
}

// filled is a chain with the values of its secrets in it. Where those cannot be had, chain is nil, and trouble says why; both are empty while it is not known.
type filled struct {
	chain   *chain
	trouble string
}

// fill puts secrets into a chain; one that names none is itself. The error names the filter, the place, the secret, and where it was looked for.
func (s *secrets) fill(c *chain, known map[model.SecretRef]secretState) filled {
	out := *c
	out.Filters = slices.Clone(c.Filters)
	held := map[string]heldSecret{}
	waits := false
	size := 0
	for i, f := range c.Filters {
		room, uses := maxFilledConfig-len(f.Config), 0
		config, err := model.ReplaceSecrets(f.Config, func(use model.SecretUse) (string, error) {
			uses++
			at := fmt.Sprintf("filter %s, config%s: secret %s", f.Name, use.Path, use.Ref)
			state, wanted := known[use.Ref]
			switch {
			case !wanted && len(known) >= model.MaxChainSecrets:
				return "", fmt.Errorf("%s: the chain names more than %d secrets; name fewer in its releases", at, model.MaxChainSecrets)
			case state.trouble != "":
				return "", fmt.Errorf("%s: %s", at, state.trouble)
			case state.value == "":
				waits = true
				return "", nil
			}
			if room -= len(state.value); room < 0 {
				return "", fmt.Errorf("%s: with its secrets the configuration has more than %d bytes; name fewer in it", at, maxFilledConfig)
			}
			if _, again := held[use.Ref.String()]; !again {
				size += encodedLen(state.value)
			}
			held[use.Ref.String()] = heldSecret{Ref: use.Ref.String(), Version: s.version(use.Ref, state.value), Value: state.value}
			return state.value, nil
		})
		if err != nil {
			return filled{trouble: err.Error()}
		}
		if uses > 0 {
			if size += len(config); len(config) > maxFilledConfig {
				return filled{trouble: fmt.Sprintf("filter %s: with its secrets the configuration has more than %d bytes as JSON; name fewer in it", f.Name, maxFilledConfig)}
			}
			if size > maxFilledChain {
				return filled{trouble: fmt.Sprintf("filter %s: with it the configurations of the chain that name secrets, and the values of those, have more than %d bytes as JSON together; "+
					"name fewer, in fewer places", f.Name, maxFilledChain)}
			}
		}
		out.Filters[i].Config = config
	}
	switch {
	case waits:
		return filled{}
	case len(held) == 0:
		return filled{chain: c}
	}
	for _, ref := range sorted(held) {
		out.Secrets = append(out.Secrets, held[ref])
	}
	return filled{chain: &out}
}

// encodedLen is how long a value is as JSON writes it.
func encodedLen(value string) int {
	text, err := json.Marshal(value)
	if err != nil {
		return 0 // a string: it cannot be
	}
	return len(text)
}

// secretsVersion is one version of all secrets in the chain; empty where there are none.
func (c *chain) secretsVersion() string {
	if len(c.Secrets) == 0 {
		return ""
	}
	h := sha256.New()
	for _, s := range c.Secrets {
		fmt.Fprintf(h, "%d:%s=%s,", len(s.Ref), s.Ref, s.Version)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// secretVersions are the versions of all secrets in the chain, by what names them, as JSON, which can be compared; empty where there are none.
func (c *chain) secretVersions() string {
	if c == nil || len(c.Secrets) == 0 {
		return ""
	}
	versions := make(map[string]string, len(c.Secrets))
	for _, s := range c.Secrets {
		versions[s.Ref] = s.Version
	}
	text, err := json.Marshal(versions)
	if err != nil {
		return "" // strings: it cannot be
	}
	return string(text)
}

// parseVersions is what secretVersions wrote.
func parseVersions(text string) map[string]string {
	var versions map[string]string
	if text != "" && json.Unmarshal([]byte(text), &versions) != nil {
		return nil
	}
	return versions
}

// older is the chain c with the values that its secrets had when the node ran it last, so that the node can go on with it, or back to it, without those that c names now. The
// trial's come first, then those of the good chain, then those of the one before, to which a rollback leads. It has the generation of c: a distributor passes over what
// is said of an earlier one. Nil: the node has none.
func older(c *chain, trial *trial, good, before *chain) *chain {
	had := []*chain{good, before}
	if trial != nil {
		had = []*chain{trial.chain, good, before}
	}
	for _, h := range had {
		if h != nil && h.Hash == c.Hash && len(h.Secrets) > 0 {
			again := *h
			again.Generation = c.Generation
			return &again
		}
	}
	return nil
}

// spoilt says why the new values of a chain's secrets are not taken, where the node could run it with them only without a filter that it has now: full is the chain with
// them, rest what it could run of it, had what it has of that chain. Only a rollout takes a filter out of a node, wave by wave. Empty: they are taken; so they are where the
// filter would not load with the values before either.
func spoilt(full, rest, had *chain, version envoy.Version, verdicts *verdicts) string {
	if had == nil || len(rest.LeftOut) == 0 {
		return ""
	}
	if today, _ := without(had, version, verdicts); len(today.LeftOut) > len(had.LeftOut) {
		return ""
	}
	var reasons []string
	for _, f := range full.Filters {
		if !slices.Contains(rest.LeftOut, f.Name) || slices.Contains(had.LeftOut, f.Name) {
			continue
		}
		reason := "it does not load"
		if verdict := verdicts.of(version.Build, f.content()); verdict != nil {
			reason = verdict.Reason()
		}
		reasons = append(reasons, fmt.Sprintf("filter %s: %s", f.Name, reason))
	}
	return strings.Join(reasons, "; ")
}

// spoiltWay says why the node does not go to a chain, or back to it, with the new values of its secrets: they were refused, and had, what the node has of that chain with the
// values before, need not be. Empty: there is no other way. A node that runs the chain goes on with it, and needs none.
func (d *driver) spoiltWay(next, had *chain, now time.Time) string {
	if had == nil || had.is(next) {
		return ""
	}
	if verdict := d.verdicts.of(d.version.Build, had.version()); verdict != nil && verdict.Outcome == envoy.Rejected {
		return ""
	}
	if verdict := d.verdicts.of(d.version.Build, next.version()); verdict != nil && verdict.Outcome == envoy.Rejected {
		return verdict.Reason()
	}
	if refused := d.refusals[next.version()]; refused != nil && now.Before(refused.until) {
		return refused.reason
	}
	return ""
}

// fillDesired is the desired chain of a situation with its secrets; the last result stays as long as nothing that it rests on has changed.
func (d *driver) fillDesired(c *chain) filled {
	known, turn := d.secrets.all()
	if c != d.filledFrom || turn != d.filledTurn {
		before := d.filled.trouble
		d.filled, d.filledFrom, d.filledTurn = d.secrets.fill(c, known), c, turn
		if now := d.filled.trouble; now != "" && now != before {
			d.log.Warn("a secret cannot be put into the chain", "chain", c.Hash, "reason", now)
		}
	}
	return d.filled
}

// reasonReading is what holds a chain up whose secrets were not read yet.
const reasonReading = "its secrets are being read"
