package sdk

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Environment variables of the VM by which a guest learns how it is used; the renderer of filter chains sets them.
const (
	envFilter        = "WAFT_FILTER"
	envFailurePolicy = "WAFT_FAILURE_POLICY"
)

// fallbackName is the name of a filter that was told none.
const fallbackName = "filter"

// FailurePolicy says what becomes of a request when the filter fails.
type FailurePolicy string

// The failure policies, as Envoy names them.
const (
	// FailReload answers the request with an error; the VM is started again where it is dead. The default.
	FailReload FailurePolicy = "FAIL_RELOAD"
	// FailClosed answers the request with an error.
	FailClosed FailurePolicy = "FAIL_CLOSED"
	// FailOpen lets the request pass.
	FailOpen FailurePolicy = "FAIL_OPEN"
)

// Plugin is one configuration of the filter in one VM. It lives until the host drops the configuration.
type Plugin struct {
	vm     *vm
	host   abi.Host
	id     uint32
	name   string
	policy FailurePolicy
	config []byte
	filter Filter

	metrics map[string]metric
	streams Counter
	pulse   *pulse

	// finish is the work at shutdown that has not begun, finishing counts what has.
	finish    []func(ctx context.Context)
	finishing int
	tasks     *taskList
	clockwork clockwork
	queues    map[uint32]func()
	foreign   func(function uint32, argument []byte)
}

func newPlugin(v *vm, id uint32) *Plugin {
	p := &Plugin{vm: v, host: v.host, id: id, name: fallbackName, policy: FailReload, metrics: map[string]metric{}, tasks: &taskList{}}
	p.pulse = &pulse{plugin: p, delay: metricDelay(v.host)}
	return p
}

// Name is the filter's name: WAFT_FILTER in the VM's environment, else the property plugin_name, else "filter".
func (p *Plugin) Name() string { return p.name }

// FailurePolicy is WAFT_FAILURE_POLICY in the VM's environment, [FailReload] when it is not set or not known.
func (p *Plugin) FailurePolicy() FailurePolicy { return p.policy }

// Configuration is the plugin configuration as the host gave it. The caller must not change it.
func (p *Plugin) Configuration() []byte { return p.config }

// Log writes to the host's log.
func (p *Plugin) Log() Logger { return Logger{p.host} }

// Properties reads properties outside of a stream, such as node.id and plugin_name.
func (p *Plugin) Properties() Properties { return Properties{host: p.host} }

// Now is the host's clock.
func (p *Plugin) Now() time.Time { return now(p.host) }

func now(h abi.Host) time.Time {
	nanos, status := h.Now()
	if status != abi.OK {
		return time.Now()
	}
	return time.Unix(0, int64(nanos))
}

// nameOf is the name of a filter: see [Plugin.Name].
func nameOf(h abi.Host) string {
	if name := h.Getenv(envFilter); name != "" {
		return name
	}
	if name, status := h.GetProperty("plugin_name"); status == abi.OK && len(name) > 0 {
		return string(name)
	}
	return fallbackName
}

// policyOf is the failure policy that the VM was told, FailReload in doubt: never open by mistake.
func policyOf(h abi.Host) FailurePolicy {
	switch policy := FailurePolicy(h.Getenv(envFailurePolicy)); policy {
	case FailOpen, FailClosed:
		return policy
	}
	return FailReload
}
