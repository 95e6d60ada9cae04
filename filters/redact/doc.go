// Command redact is the filter that takes personal data out of bodies, and out of what the access log says of a path. README.md
// documents its configuration.
//
// # Flow
//
// config.go is the configuration, compile.go checks it. filter.go decides which bodies are looked at, and holds them. json.go
// copies a JSON body, leaving out the values of fields.go's paths; pattern.go replaces in the rest, and in text, what its patterns find:
// card.go, email.go, iban.go, ssn.go, phone.go, address.go, token.go, and expression.go, which has the author's own.
//
// # Invariants
//
// A body that a policy is about and that cannot be looked at, because it is compressed, too long or no JSON, does not pass. What
// is found is never logged.
//
// It imports package sdk and the standard library only.
package main
