package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/wholefile"
)

// files writes what Envoy reads: the bootstrap, the slots, the listeners. It belongs to the driver's goroutine.
type files struct {
	config Config
	number envoy.Number
	cache  *registry.Cache
	kept   *kept
	// written are the digests of what was put into the slots' files last, by slot; nil: nothing in this life of the agent.
	written map[string]registry.Digest
}

func joinState(c Config, name string) string { return filepath.Join(c.StateDir, name) }

// missingModule means that a module that should be on disk is not, or is damaged.
type missingModule struct {
	digest string
	err    error
}

func (m *missingModule) Error() string { return fmt.Sprintf("module %s: %v", m.digest, m.err) }
func (m *missingModule) Unwrap() error { return m.err }

// render turns a chain into Envoy's words. Each module is verified once more, because Envoy does not.
func (f *files) render(c *chain) ([]envoy.WasmFilter, error) {
	filters := make([]envoy.WasmFilter, 0, len(c.Filters))
	for _, one := range c.Filters {
		path, err := f.cache.Path(registry.Digest(one.Digest))
		if err != nil {
			return nil, &missingModule{one.Digest, err}
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("module %s: %w", one.Digest, err)
		}
		filters = append(filters, envoy.WasmFilter{Name: one.Name, ModulePath: path, Config: one.Config, FailurePolicy: envoy.FailurePolicy(one.Policy), Only: c.only(one)})
	}
	return filters, nil
}

func (f *files) slotsDir() string { return joinState(f.config, slotsFolder) }

// putSlots puts a chain into the slots, which an Envoy before 1.39 has for filters. Envoy reads them again, whatever they held.
func (f *files) putSlots(c *chain, filterSlots []string) error {
	return f.fillSlots(c, filterSlots, true)
}

// keepSlots is putSlots for an Envoy that is to start, or has the chain: what holds it already is left alone, since a full disk need not be in the way then.
func (f *files) keepSlots(c *chain, filterSlots []string) error {
	return f.fillSlots(c, filterSlots, false)
}

func (f *files) fillSlots(c *chain, filterSlots []string, anew bool) error {
	filters, err := f.render(c)
	if err != nil {
		return err
	}
	if !f.number.HasFilterChain() {
		if filters, err = envoy.Fill(filterSlots, filters); err != nil {
			return err
		}
	}
	slots, err := envoy.Slots(f.number, filters, c.version())
	if err != nil {
		return err
	}
	for _, slot := range slots {
		if anew || !fileHas(filepath.Join(f.slotsDir(), envoy.SlotFileName(slot.Slot)), slot.Content) {
			if err := slot.Write(f.slotsDir()); err != nil {
				return err
			}
		}
		if f.written == nil {
			f.written = map[string]registry.Digest{}
		}
		f.written[slot.Slot] = registry.DigestOf(slot.Content)
	}
	return nil
}

// damagedSlot is a slot's file that is not what was written to it; empty: there is none.
func (f *files) damagedSlot() string {
	for _, slot := range sorted(f.written) {
		path := filepath.Join(f.slotsDir(), envoy.SlotFileName(slot))
		if content, err := os.ReadFile(path); err != nil || registry.DigestOf(content) != f.written[slot] {
			return path
		}
	}
	return ""
}

// putPreload puts filters into the slot for loading beforehand; none empties it.
func (f *files) putPreload(filters []envoy.WasmFilter, version string) error {
	content, err := envoy.Chain(envoy.PreloadSlotName, filters, version)
	if err != nil {
		return err
	}
	return envoy.SlotFile{Slot: envoy.PreloadSlotName, Content: content}.Write(f.slotsDir())
}

// putBootstrap writes the bootstrap with a chain as its default, on copies of the modules that nothing else uses; nil leaves Envoy without
// a listener.
func (f *files) putBootstrap(good *chain, slots []string) error {
	bootstrap := f.config.bootstrap(f.number)
	if good != nil {
		var err error
		if bootstrap.Default, err = f.render(good); err != nil {
			return err
		}
		if err := f.kept.hold(good); err != nil {
			return err
		}
		for i, one := range good.Filters {
			bootstrap.Default[i].ModulePath = f.kept.path(one.Digest)
		}
	}
	if !f.number.HasFilterChain() {
		bootstrap.SlotFilters = slots
	}
	content, err := bootstrap.Render()
	if err != nil {
		return err
	}
	return replaceOther(f.config.BootstrapOut, content)
}

// putFallback writes what a later start of Envoy falls back to: the bootstrap, where that is the agent's.
func (f *files) putFallback(good *chain, slots []string) error {
	switch {
	case !f.config.SlotOnly:
		return f.putBootstrap(good, slots)
	case good == nil:
		return nil
	}
	return f.kept.hold(good)
}

// putListeners has an Envoy that was started without a chain listen, or no longer. Version tells one writing from another.
func (f *files) putListeners(listen bool, slots []string, version string) error {
	content, err := envoy.WaitingListeners()
	if listen {
		bootstrap := f.config.bootstrap(f.number)
		if !f.number.HasFilterChain() {
			bootstrap.SlotFilters = slots
		}
		content, err = bootstrap.Listeners(version)
	}
	if err != nil {
		return err
	}
	return replaceOther(filepath.Join(f.slotsDir(), envoy.ListenersFileName), content)
}

// fileHas says whether a file has a content.
func fileHas(path string, content []byte) bool {
	there, err := os.ReadFile(path)
	return err == nil && bytes.Equal(there, content)
}

// replaceOther replaces a file whose content is another.
func replaceOther(path string, content []byte) error {
	if fileHas(path, content) {
		return nil
	}
	return wholefile.Replace(path, content)
}

// slotNames are the slots of an Envoy for the serving chain, by what the bootstrap has.
func slotNames(number envoy.Number, slots []string) []string {
	if number.HasFilterChain() {
		return []string{envoy.SlotName}
	}
	names := make([]string, 0, len(slots))
	for _, filter := range slots {
		names = append(names, envoy.FilterSlotName(filter))
	}
	return names
}
