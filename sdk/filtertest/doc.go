// Package filtertest runs a filter's scenarios: the same YAML files against the compiled module in wazero (package wasmhost) and in
// real Envoy, and compares the two.
//
// A scenario file holds one configuration and the requests that run under it, in order, on one VM:
//
//	description: only admins enter /admin
//	config: {header: x-role}      # any JSON value; a YAML string is passed to the filter as it is
//	configError: "field header"   # instead of scenarios: configuring must fail, and a log line must contain this
//	upstream: {status: 200, headers: {content-type: text/plain}, body: "ok"}
//	clusters: {auth: {status: 200, body: "ann", delay: 20ms}, mute: {fault: never}, greeter: {grpc: {messages: [hello]}}}
//	scenarios:
//	- name: an admin enters
//	  request: {method: GET, path: /admin, authority: waft.test, headers: {authorization: "Bearer …", x-multi: [a, b]}, body: ""}
//	  upstream: {status: 404}     # instead of the file's
//	  clusters: {auth: {status: 403}}
//	  after: 100ms                # let time pass before it; request.leave: the client goes away after a time
//	  repeat: 3                   # send it so often; every answer must match
//	  want:
//	    upstream: none            # or {method: GET, path: /x, authority: h, headers: {a: b}, absent: [c], body: ""}
//	    response: {status: 403, headers: {content-type: text/plain}, absent: [x], body: "…", bodyContains: "…"}
//	    clusters: {auth: {times: 1, path: /check}, mute: none}     # what callouts brought there
//	    metrics: {denied: 1}      # growth during the scenario; of a gauge its value after, of a histogram the number of samples
//	    logs: ["denied"]          # each must be part of some log line
//
// A filter of TCP connections has scenarios with steps instead of a request:
//
//	scenarios:
//	- name: let in by the opening
//	  connection: [{client: HELO}, {upstream: hi}, {wait: 20ms}, {ends: client}]     # or resets: client, and the same of the upstream
//	  want: {upstream: {data: HELO, closed: end}, client: {data: hi}, closedBy: client}
//
// Each step begins when Envoy has dealt with the one before, which play.go has for both backends: wazero's VM says so, and Envoy's counters and
// a connection past its one worker do (envoytcp.go).
//
// Flow: Load reads files; RunWasm and RunEnvoy run them and give a Report each; Compare lists what differs between two reports. Run does
// it all for a Go test: it builds the filter of a folder and runs its scenarios under every profile.
//
// Time in wazero is virtual: it passes when something waits for it. Clusters are real servers on loopback for a real Envoy (servers.go),
// and scripts for wasmhost (script.go).
//
// Invariants: unknown keys are errors. A report is data and marshals to JSON. Headers that Envoy adds or removes of its own accord are
// listed once, in normalize.go, each with its reason; nothing else is left out of a comparison but log lines.
//
// It must not import anything of the distributor or the registry.
package filtertest
