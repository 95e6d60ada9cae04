package conformance

// listedCase is a difference that is listed instead of fixed.
type listedCase struct {
	name   string
	since  string // the first Envoy that differs, as "1.39"; empty: the first of all
	until  string // the last one; empty: the newest
	reason string
}

// listedReason says why a case may differ under a version.
func listedReason(name, version string) (reason string, ok bool) {
	for _, l := range listedCases {
		if l.name == name && (testCase{since: l.since, until: l.until}).within(version) {
			return l.reason, true
		}
	}
	return "", false
}

// listedCases are the differences that stay. Each is one that a case shows.
var listedCases = []listedCase{
	{
		name: "foreign/those that need Envoy",
		reason: "wasmhost has no CEL expressions and no typed filter state: a guest that calls expr_create, expr_evaluate, expr_delete, " +
			"declare_property or set_envoy_filter_state gets NOT_FOUND, unless a test gives Proxy.Foreign a function of that name",
	},
}
