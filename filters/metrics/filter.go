package main

import "github.com/waft-project/waft/sdk"

// filter is the configured filter. It keeps nothing per stream, so it is the handler of every stream.
type filter struct {
	plugin  *sdk.Plugin
	metrics []metric
	// failed is set when the host refused a metric: it is said once, not with each stream.
	failed bool
}

var (
	_ sdk.Filter            = (*filter)(nil)
	_ sdk.StreamDoneHandler = (*filter)(nil)
)

func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	metrics, err := compile(config)
	if err != nil {
		return nil, err
	}
	f := &filter{plugin: p, metrics: metrics}
	for i := range f.metrics {
		// A metric without tags is there from the start, at zero.
		if m := &f.metrics[i]; len(m.tags) == 0 {
			if _, err := m.find(p); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// NewHandler is the filter itself.
func (f *filter) NewHandler() sdk.Handler { return f }

// OnStreamDone counts the stream in every metric.
func (f *filter) OnStreamDone(s *sdk.Stream) {
	for i := range f.metrics {
		if err := f.metrics[i].count(f.plugin, s); err != nil && !f.failed {
			f.failed = true
			s.Log().Error("a metric is not counted: " + err.Error())
		}
	}
}
