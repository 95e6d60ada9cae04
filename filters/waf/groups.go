package main

import "slices"

// group is a part of the core rule set that can be left out.
type group struct {
	name  string
	files []string
}

// Files of the rule set, below @owasp_crs/ and without .conf.
var (
	// filesFirst set the rule set's variables and leave out what is known to be harmless.
	filesFirst = []string{"REQUEST-901-INITIALIZATION", "REQUEST-905-COMMON-EXCEPTIONS"}
	// filesVerdict compare the score of a request with the threshold.
	filesVerdict = []string{"REQUEST-949-BLOCKING-EVALUATION"}
	// filesResponse are about responses, verdict included. REQUEST-980-CORRELATION is never loaded: it only sums up what the
	// matched rules have logged.
	filesResponse = []string{
		"RESPONSE-950-DATA-LEAKAGES", "RESPONSE-951-DATA-LEAKAGES-SQL", "RESPONSE-952-DATA-LEAKAGES-JAVA",
		"RESPONSE-953-DATA-LEAKAGES-PHP", "RESPONSE-954-DATA-LEAKAGES-IIS", "RESPONSE-955-WEB-SHELLS",
		"RESPONSE-956-DATA-LEAKAGES-RUBY", "RESPONSE-959-BLOCKING-EVALUATION",
	}
	// groups are in the order in which they are loaded.
	groups = []group{
		{"method", []string{"REQUEST-911-METHOD-ENFORCEMENT"}},
		{"scanner", []string{"REQUEST-913-SCANNER-DETECTION"}},
		{"protocol", []string{"REQUEST-920-PROTOCOL-ENFORCEMENT", "REQUEST-921-PROTOCOL-ATTACK"}},
		{"multipart", []string{"REQUEST-922-MULTIPART-ATTACK"}},
		{"lfi", []string{"REQUEST-930-APPLICATION-ATTACK-LFI"}},
		{"rfi", []string{"REQUEST-931-APPLICATION-ATTACK-RFI"}},
		{"rce", []string{"REQUEST-932-APPLICATION-ATTACK-RCE"}},
		{"php", []string{"REQUEST-933-APPLICATION-ATTACK-PHP"}},
		{"generic", []string{"REQUEST-934-APPLICATION-ATTACK-GENERIC"}},
		{"xss", []string{"REQUEST-941-APPLICATION-ATTACK-XSS"}},
		{"sqli", []string{"REQUEST-942-APPLICATION-ATTACK-SQLI"}},
		{"session", []string{"REQUEST-943-APPLICATION-ATTACK-SESSION-FIXATION"}},
		{"java", []string{"REQUEST-944-APPLICATION-ATTACK-JAVA"}},
	}
)

// ruleFiles are the files to load, in order. No names are all groups.
func ruleFiles(names []string, responses bool) []string {
	files := slices.Clone(filesFirst)
	for _, g := range groups {
		if len(names) == 0 || slices.Contains(names, g.name) {
			files = append(files, g.files...)
		}
	}
	files = append(files, filesVerdict...)
	if responses {
		files = append(files, filesResponse...)
	}
	return files
}
