package main

import (
	"regexp"

	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter redact: policies by rules. Requests that no rule is about have the default's policy;
// without a default they pass untouched.
type Config struct {
	sdk.Rules[Policy]
}

// MatchPattern is how names of expressions are checked.
func (*Config) MatchPattern(pattern, text string) (bool, error) {
	return regexp.MatchString(pattern, text)
}

// Policy says what is taken out of which messages.
type Policy struct {
	// Messages are those whose bodies are looked at.
	Messages []string `json:"messages,omitempty" enum:"request,response" minItems:"1" default:"[\"response\"]"`
	// Fields are the paths of fields of JSON bodies whose values are replaced, whatever they are. Names are separated by dots;
	// * stands for any name and ** for any number of them. Lists do not count: users.email is that of every user.
	Fields []string `json:"fields,omitempty" minItems:"1" maxItems:"256" minLength:"1" maxLength:"512"`
	// Patterns are what is replaced wherever it stands in texts: card is the number of a payment card (13 to 19 digits whose
	// check digit is right), email an e-mail address, iban an international bank account number whose check digits are right, ssn
	// a social security number of the United States (with hyphens), phone a telephone number that begins with +, ipv4 and ipv6 an
	// IP address, jwt a JSON Web Token, bearer the token behind the word Bearer.
	Patterns []string `json:"patterns,omitempty" enum:"card,email,iban,ssn,phone,ipv4,ipv6,jwt,bearer" minItems:"1"`
	// Expressions are patterns of your own.
	Expressions []Expression `json:"expressions,omitempty" minItems:"1" maxItems:"32"`
	// Replacement is what stands in the place of what was taken out.
	Replacement string `json:"replacement,omitempty" maxLength:"64" default:"[redacted]"`
	// MaxBodyBytes is the longest body that is held. A longer request gets a 413; a longer response is cut off.
	MaxBodyBytes int `json:"maxBodyBytes,omitempty" min:"1" max:"16777216" default:"1048576"`
	// LogPath sets the filter state wasm.redact_path to the request's path, with the values of Query and what Patterns and Expressions find
	// replaced, for access logs.
	LogPath bool `json:"logPath,omitempty"`
	// Query are the names of parameters whose values logPath replaces.
	Query []string `json:"query,omitempty" minItems:"1" maxItems:"256" minLength:"1"`
}

// Expression is a pattern of one's own.
type Expression struct {
	// Name is what it is counted as: redact.replaced.kind.NAME. Policies may share one.
	Name string `json:"name" pattern:"^[a-z][a-z0-9_]{0,31}$"`
	// Regex is the expression (RE2) of what is replaced.
	Regex string `json:"regex" minLength:"1" maxLength:"1024"`
}
