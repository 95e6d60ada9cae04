// Command waf is the filter that inspects requests, and responses if asked to, as a web application firewall: Coraza with
// the OWASP core rule set. README.md documents its configuration and its cost.
//
// # Flow
//
// config.go is the configuration. seclang.go writes it as directives, together with those that choose from the rule set
// (groups.go), and engine.go has Coraza read them all; misread.go finds the line of a user's directive that Coraza does not
// take. filter.go makes a handler of each stream, and inspect.go walks it through the phases of the rules. matched.go says
// what rules matched.
//
// # Invariants
//
// In mode block nothing passes that could not be inspected: an error of the engine and a body over the limit are answered,
// not let through. In mode detect nothing is answered. Header and query are judged before anything goes upstream, since
// Envoy sends the headers on while the body is still awaited; that is what the tag for multiphase evaluation is for.
//
// # Build
//
// The tag tinygo is Coraza's switch for Wasm, whatever the compiler: it leaves out what has no place in it (net/http, syslog,
// JSON Schema, the OCSF audit log), 60 % of the module. The memory is what the whole rule set needs, twice over.
//
//waft:tags coraza.rule.multiphase_evaluation,coraza.rule.no_regex_multiline,no_fs_access,tinygo
//waft:memory 192MiB
package main
