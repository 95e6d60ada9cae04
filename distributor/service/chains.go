package service

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

const (
	// maxChains is how many rendered chains are kept; beyond it the cache begins anew.
	maxChains = 4096
	// maxVerdicts is how many checked chains are known; a fleet has to do with fewer distinct ones at a time.
	maxVerdicts = 1 << 16
)

// rendered is a chain, or why it cannot be rendered.
type rendered struct {
	chain model.Chain
	err   error
}

// chainKey names what a chain is rendered from: the releases by layer, with one layer replaced where with says so.
func chainKey(assigned map[model.Layer]model.ReleaseID) string {
	if len(assigned) == 1 {
		for layer, id := range assigned {
			return string(layer) + "=" + id.Name + "@" + id.Hash
		}
	}
	parts := make([]string, 0, len(assigned))
	for layer, id := range assigned {
		parts = append(parts, string(layer)+"="+id.Name+"@"+id.Hash)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// render is the chain of those releases, which must be in the cache of releases; mu is held.
func (s *Service) render(assigned map[model.Layer]model.ReleaseID) (model.Chain, error) {
	if !model.Given(assigned) {
		return model.Chain{}, nil
	}
	key := chainKey(assigned)
	if r, known := s.chains[key]; known {
		return r.chain, r.err
	}
	layers, err := s.layers(assigned)
	if err != nil {
		return model.Chain{}, err // not kept: the release may be read later
	}
	chain, err := merge.Render(layers)
	if err == nil {
		if err = s.marshal(&chain); err != nil {
			chain = model.Chain{}
		}
	}
	if len(s.chains) >= maxChains {
		clear(s.chains)
	}
	s.chains[key] = rendered{chain: chain, err: err}
	return chain, err
}

// layers are the releases that are assigned; mu is held.
func (s *Service) layers(assigned map[model.Layer]model.ReleaseID) (map[model.Layer]model.Release, error) {
	layers := make(map[model.Layer]model.Release, len(assigned))
	for layer, id := range assigned {
		release, known := s.releases[id]
		if !known {
			return nil, fmt.Errorf("release/%s is not loaded", id)
		}
		layers[layer] = release
	}
	return layers, nil
}

// with is assigned with one layer set to a release, or taken away when release is zero.
func with(assigned map[model.Layer]model.ReleaseID, layer model.Layer, release model.ReleaseID) map[model.Layer]model.ReleaseID {
	if assigned[layer] == release && release != (model.ReleaseID{}) {
		return assigned
	}
	merged := make(map[model.Layer]model.ReleaseID, len(assigned)+1)
	for l, id := range assigned {
		merged[l] = id
	}
	if release == (model.ReleaseID{}) {
		delete(merged, layer)
	} else {
		merged[layer] = release
	}
	return merged
}

// modulesOf are the modules of a chain.
func modulesOf(chain model.Chain) []model.Module {
	modules := make([]model.Module, 0, len(chain.Filters))
	for _, f := range chain.Filters {
		if f.Module != nil {
			modules = append(modules, *f.Module)
		}
	}
	return modules
}

// hasAll says whether all modules of a chain are among the digests.
func hasAll(chain model.Chain, digests map[string]struct{}) bool {
	for _, f := range chain.Filters {
		if f.Module == nil {
			continue
		}
		if _, has := digests[f.Module.Digest]; !has {
			return false
		}
	}
	return true
}

// whyUnfetched is why a module of a chain is not on a node's disk, as the node has it of modules, by digest; empty where it says nothing of them.
func whyUnfetched(chain model.Chain, reasons map[string]string) string {
	for _, f := range chain.Filters {
		if f.Module != nil && reasons[f.Module.Digest] != "" {
			return reasons[f.Module.Digest]
		}
	}
	return ""
}

// cannotRun says why a node cannot be given a chain, and what to do; empty when it can. A sink that does not keep resources would run the filters of a release without what they were
// tested with.
func (s *Service) cannotRun(row model.Node, chain model.Chain) (why, next string) {
	if err := s.misfit(row, chain); err != nil {
		return err.Error(), nextMisfit
	}
	if len(chain.Resources) > 0 && !row.Resources && row.Dialect != model.DialectADS {
		return fmt.Sprintf("the chain has %d resources, and its sink does not say that it keeps any", len(chain.Resources)), nextUnloadable
	}
	if reason := noFilters(row, chain); reason != "" {
		return reason, nextNoFilters
	}
	if !row.Secrets && chain.NamesSecret() {
		return "a configuration of the chain names a secret, and its sink does not say that it puts any in", nextUnfilled
	}
	if !row.TakesKept() {
		if named := chain.KeptSecrets(); len(named) > 0 {
			return fmt.Sprintf("a configuration of the chain names the secret %s, and only an agent that asks for secrets of the distributor is given any", named[0]), nextUnfilled
		}
	}
	return unloadable(row.EnvoyVersion, chain), nextUnloadable
}

// unloadable says why an Envoy of that version cannot load a chain, by the manifests of its modules; empty when it can, or
// when nothing is known of the version or the module.
//
// A manifest names the versions that somebody knew when the module was built. What Envoy offers to modules has only ever
// grown, so a version that it does not name loads what an older one that it names loads.
func unloadable(envoyVersion string, chain model.Chain) string {
	version, ok := parseProfile("envoy-" + envoyVersion)
	if !ok {
		return ""
	}
	for _, f := range chain.Filters {
		if f.Module == nil || len(f.Module.Envoys) == 0 || slices.ContainsFunc(f.Module.Envoys, version.loadsWhatLoadsOn) {
			continue
		}
		name := f.Module.Reference
		if name == "" {
			name = f.Module.Digest
		}
		return fmt.Sprintf("it runs Envoy %s, and filter %s's module %s loads only in %s and later, by its manifest",
			envoyVersion, f.Name, name, strings.Join(f.Module.Envoys, ", "))
	}
	return ""
}

// profile is a version of Envoy as manifests name it.
type profile struct{ major, minor int }

// parseProfile reads envoy-MAJOR.MINOR; what follows a further dot is left out.
func parseProfile(name string) (profile, bool) {
	parts := strings.SplitN(strings.TrimPrefix(name, "envoy-"), ".", 3)
	if len(parts) < 2 {
		return profile{}, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return profile{}, false
	}
	minor, err := strconv.Atoi(parts[1])
	return profile{major, minor}, err == nil
}

func (p profile) before(other profile) bool {
	return p.major < other.major || p.major == other.major && p.minor < other.minor
}

// loadsWhatLoadsOn says whether the other version is this one or an older one.
func (p profile) loadsWhatLoadsOn(name string) bool {
	other, ok := parseProfile(name)
	return ok && (other.major < p.major || other.major == p.major && other.minor <= p.minor)
}
