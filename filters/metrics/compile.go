package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// defaultMaxSeries is what maxSeries is where a configuration says 0.
const defaultMaxSeries = 100

// reserved is how the names begin that waft uses itself.
const reserved = "waft."

// compile checks the configuration. Errors are [*sdk.ConfigError] that name the field.
func compile(c *Config) ([]metric, error) {
	maxSeries := cmp.Or(c.MaxSeries, defaultMaxSeries)
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

func (m *metric) compile(path string, from *Metric, maxSeries int) error {
	if reason := nameFault(from.Name, true); reason != "" {
		return sdk.ConfigErrorf(path+".name", "%q %s", from.Name, reason)
	}
	if strings.HasPrefix(from.Name+".", reserved) {
		return sdk.ConfigErrorf(path+".name", "%q: names that begin with %s are taken", from.Name, reserved)
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
	m.maxSeries = cmp.Or(from.MaxSeries, maxSeries)
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
