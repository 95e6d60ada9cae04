package main

import (
	"fmt"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// Bounds of the configuration.
const (
	// defaultMaxSeries and maxMaxSeries are the bounds of maxSeries.
	defaultMaxSeries = 100
	maxMaxSeries     = 10000
	// maxMetrics is the most metrics.
	maxMetrics = 100
	// maxTags is the most tags of a metric.
	maxTags = 10
	// maxTagValues is the most values that a tag tells apart by name.
	maxTagValues = 1000
	// maxName is the most bytes of a metric's or a tag's name.
	maxName = 128
)

// reserved is how the names begin that waft uses itself.
const reserved = "waft."

// compile checks the configuration. Errors are [*sdk.ConfigError] that name the field.
func compile(c *Config) ([]metric, error) {
	if len(c.Metrics) > maxMetrics {
		return nil, sdk.ConfigErrorf("metrics", "it has %d metrics, the most is %d", len(c.Metrics), maxMetrics)
	}
	maxSeries, err := bound("maxSeries", c.MaxSeries, defaultMaxSeries)
	if err != nil {
		return nil, err
	}
	metrics := make([]metric, len(c.Metrics))
	seen := map[string]int{}
	for i := range c.Metrics {
		path := fmt.Sprintf("metrics[%d]", i)
		if err := metrics[i].compile(path, &c.Metrics[i], maxSeries); err != nil {
			return nil, err
		}
		if first, ok := seen[metrics[i].name]; ok {
			return nil, sdk.ConfigErrorf(path+".name", "%q is the name of metrics[%d] already", metrics[i].name, first)
		}
		seen[metrics[i].name] = i
	}
	return metrics, nil
}

// bound is a number of series, or what stands for none.
func bound(path string, n, otherwise int) (int, error) {
	if n == 0 {
		return otherwise, nil
	}
	if n < 1 || n > maxMaxSeries {
		return 0, sdk.ConfigErrorf(path, "want a number from 1 to %d, got %d", maxMaxSeries, n)
	}
	return n, nil
}

func (m *metric) compile(path string, from *Metric, maxSeries int) (err error) {
	if reason := nameFault(from.Name, true); reason != "" {
		return sdk.ConfigErrorf(path+".name", "%q %s", from.Name, reason)
	}
	if strings.HasPrefix(from.Name+".", reserved) {
		return sdk.ConfigErrorf(path+".name", "%q: names that begin with %s are taken", from.Name, reserved)
	}
	if len(from.Tags) > maxTags {
		return sdk.ConfigErrorf(path+".tags", "it has %d tags, the most is %d", len(from.Tags), maxTags)
	}
	m.name, m.histogram, m.value = from.Name, from.Type == "histogram", from.Value
	if m.value == "" {
		m.value = valueOne
		if m.histogram {
			m.value = valueDurationMs
		}
	}
	if m.histogram && m.value == valueOne {
		return sdk.ConfigErrorf(path+".value", "a histogram of ones says nothing; want a duration or a size")
	}
	if m.maxSeries, err = bound(path+".maxSeries", from.MaxSeries, maxSeries); err != nil {
		return err
	}
	m.series, m.values, m.tags = map[string]series{}, make([]sdk.Tag, len(from.Tags)), make([]tag, len(from.Tags))
	for i := range from.Tags {
		field := fmt.Sprintf("%s.tags[%d]", path, i)
		if err := m.tags[i].compile(field, &from.Tags[i]); err != nil {
			return err
		}
		for j := range i {
			if m.tags[j].name == m.tags[i].name {
				return sdk.ConfigErrorf(field+".name", "%q is the name of tags[%d] already", m.tags[i].name, j)
			}
		}
	}
	return nil
}

func (t *tag) compile(path string, from *Tag) error {
	if reason := nameFault(from.Name, false); reason != "" {
		return sdk.ConfigErrorf(path+".name", "%q %s", from.Name, reason)
	}
	switch {
	case takesKey(from.From) && from.Key == "":
		return sdk.ConfigErrorf(path+".key", "%s needs a key", from.From)
	case !takesKey(from.From) && from.Key != "":
		return sdk.ConfigErrorf(path+".key", "%s takes no key", from.From)
	case len(from.Values) > maxTagValues:
		return sdk.ConfigErrorf(path+".values", "it has %d values, the most is %d", len(from.Values), maxTagValues)
	}
	*t = tag{name: from.Name, from: from.From, key: from.Key, otherwise: from.Default, values: from.Values}
	if t.otherwise == "" {
		t.otherwise = valueNone
	}
	switch from.From {
	case fromProperty:
		for element := range strings.SplitSeq(from.Key, ".") {
			if element == "" {
				return sdk.ConfigErrorf(path+".key", "%q is no property: want elements separated by dots, as in xds.cluster_name", from.Key)
			}
		}
		t.key = property(from.Key)
	case fromRoute:
		t.key = routeProperty
	}
	return nil
}

// nameFault says why a name cannot be a metric's or a tag's, and nothing when it can.
func nameFault(name string, dots bool) string {
	if len(name) > maxName {
		return fmt.Sprintf("has %d bytes, the most is %d", len(name), maxName)
	}
	parts := []string{name}
	if dots {
		parts = strings.Split(name, ".")
	}
	for _, part := range parts {
		if part == "" {
			return "is empty, or has an empty part"
		}
		for i := range len(part) {
			c := part[i]
			if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return fmt.Sprintf("holds %q; want letters, digits and _", c)
			}
		}
	}
	return ""
}
