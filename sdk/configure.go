package sdk

import (
	"errors"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// tryConfigure reads the configuration and makes the filter. A panic of the filter's is an error.
func (v *vm) tryConfigure(p *Plugin, size int) (filter Filter, err error) {
	p.name, p.policy = nameOf(v.host), policyOf(v.host)
	if p.streams, err = p.Counter(requestsMetric + p.name); err != nil {
		return nil, err
	}
	p.config = nil
	if size > 0 {
		config, status := v.host.GetBuffer(abi.PluginConfiguration, 0, size)
		if status != abi.OK {
			return nil, hostError(status, "read", "plugin configuration")
		}
		p.config = append([]byte(nil), config...)
	}
	defer func() {
		if reason := recover(); reason != nil {
			filter, err = nil, errors.New("panic: "+describe(reason)+"\n"+string(stack()))
		}
	}()
	if filter, err = v.configure(p, p.config); err != nil {
		return nil, err
	}
	if filter == nil {
		return nil, errors.New("the configure function returned neither a filter nor an error")
	}
	return filter, nil
}
