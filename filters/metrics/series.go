package main

import (
	"github.com/waft-project/waft/sdk"
)

// metric is a checked [Metric] and its series: one counter or histogram for each combination of tag values seen so far.
type metric struct {
	name      string
	histogram bool
	value     string
	tags      []tag
	maxSeries int

	series map[string]series
	// other counts the streams over the bound. It is defined when the first one comes.
	other *series
	// values and key are used again for each stream.
	values []sdk.Tag
	key    []byte
}

// series is one combination of tag values.
type series struct {
	counter   sdk.Counter
	histogram sdk.Histogram
}

// count counts a stream.
func (m *metric) count(p *sdk.Plugin, s *sdk.Stream) error {
	n, ok := measure(m.value, s)
	if !ok {
		return nil
	}
	for i := range m.tags {
		m.values[i] = sdk.Tag{Name: m.tags[i].name, Value: m.tags[i].value(s)}
	}
	one, err := m.find(p)
	if err != nil {
		return err
	}
	if m.histogram {
		one.histogram.Record(n)
	} else {
		one.counter.Add(n)
	}
	return nil
}

// find is the series of the values in m.values. Two combinations that the host would show under one name are one.
func (m *metric) find(p *sdk.Plugin) (series, error) {
	m.key = sdk.AppendMetricName(m.key[:0], m.name, m.values...)
	if one, ok := m.series[string(m.key)]; ok {
		return one, nil
	}
	if len(m.series) >= m.maxSeries {
		return m.overflow(p)
	}
	one, err := m.define(p, string(m.key))
	if err != nil {
		return series{}, err
	}
	m.series[string(m.key)] = one
	return one, nil
}

// overflow is the series of every combination over the bound.
func (m *metric) overflow(p *sdk.Plugin) (series, error) {
	if m.other == nil {
		for i := range m.values {
			m.values[i].Value = valueOther
		}
		one, err := m.define(p, sdk.MetricName(m.name, m.values...))
		if err != nil {
			return series{}, err
		}
		m.other = &one
	}
	return *m.other, nil
}

func (m *metric) define(p *sdk.Plugin, name string) (one series, err error) {
	if m.histogram {
		one.histogram, err = p.Histogram(name)
	} else {
		one.counter, err = p.Counter(name)
	}
	return one, err
}
