package build

import "strings"

// languageOf tells the source language from the module's "producers" section, as toolchains write it; empty when it says
// nothing. It is a hint: anyone can write anything there.
// https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md
func languageOf(list []section) string {
	for _, s := range list {
		if s.id != sectionCustom {
			continue
		}
		name, content, err := custom(s.body)
		if err != nil || name != "producers" {
			continue
		}
		fields := readProducers(content)
		for _, tool := range fields["processed-by"] {
			if strings.HasPrefix(strings.ToLower(tool), "tinygo") {
				return "tinygo"
			}
		}
		for _, language := range fields["language"] {
			if language = cleanLanguage(language); language != "" {
				return language
			}
		}
	}
	return ""
}

// readProducers reads field names and, for each, the names of its values. It stops where the section makes no sense.
func readProducers(b []byte) map[string][]string {
	const maxFields, maxValues = 16, 64
	out := map[string][]string{}
	fields, n, err := readU32(b)
	if err != nil {
		return out
	}
	b = b[n:]
	for range min(fields, maxFields) {
		var field string
		if field, b, err = readName(b); err != nil {
			return out
		}
		values, n, err := readU32(b)
		if err != nil {
			return out
		}
		b = b[n:]
		for range min(values, maxValues) {
			var value string
			if value, b, err = readName(b); err != nil {
				return out
			}
			if _, b, err = readName(b); err != nil { // its version
				return out
			}
			out[field] = append(out[field], value)
		}
	}
	return out
}

// cleanLanguage makes what a stranger wrote fit for a manifest, or empty.
func cleanLanguage(s string) string {
	s = strings.ToLower(s)
	const maxLanguage = 32
	if len(s) > maxLanguage {
		return ""
	}
	for i, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || strings.IndexByte("._+-#", c) < 0) {
			return ""
		}
	}
	return s
}
