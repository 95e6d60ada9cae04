package filtertest

// Headers that are left out of what a backend saw, each with its reason. They are the work of Envoy's connection manager and router or
// of the wire, not of the filter, and some differ from run to run. A scenario cannot ask for them.

// ignoredUpstream are left out of the request that the upstream got.
var ignoredUpstream = map[string]string{
	"host":                                   "is the request's authority",
	"content-length":                         "the wire's framing of the body; the body itself is compared",
	"transfer-encoding":                      "the wire's framing of the body",
	"connection":                             "between Envoy and one peer only",
	"x-request-id":                           "made by Envoy, random",
	"x-forwarded-proto":                      "added by Envoy's connection manager",
	"x-forwarded-for":                        "added by Envoy's connection manager, where it is told to",
	"x-envoy-expected-rq-timeout-ms":         "added by Envoy's router",
	"x-envoy-internal":                       "added by Envoy's connection manager",
	"x-envoy-external-address":               "added by Envoy's connection manager",
	"x-envoy-original-path":                  "added by Envoy's router when it rewrites the path",
	"x-envoy-attempt-count":                  "added by Envoy's router, where it is told to",
	"x-envoy-decorator-operation":            "added by Envoy's tracing",
	"x-envoy-peer-metadata":                  "added by Istio's extensions",
	"x-envoy-peer-metadata-id":               "added by Istio's extensions",
	"x-envoy-upstream-rq-timeout-ms":         "read and removed by Envoy's router",
	"x-envoy-upstream-rq-per-try-timeout-ms": "read and removed by Envoy's router",
}

// ignoredResponse are left out of the response that the client got.
var ignoredResponse = map[string]string{
	"content-length":                "the wire's framing of the body; the body itself is compared",
	"transfer-encoding":             "the wire's framing of the body",
	"connection":                    "between Envoy and one peer only",
	"date":                          "made by Envoy from the clock",
	"server":                        "set by Envoy's connection manager",
	"x-envoy-upstream-service-time": "measured by Envoy's router",
	"x-envoy-decorator-operation":   "added by Envoy's tracing",
}

// ignoredCall are left out of the metadata of a gRPC call, besides ignoredUpstream.
var ignoredCall = map[string]string{
	"content-type":         "says that it is gRPC",
	"te":                   "says that it is gRPC",
	"grpc-timeout":         "how long Envoy waits, from its clock",
	"grpc-accept-encoding": "between Envoy and one peer only",
}
