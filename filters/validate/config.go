package main

import (
	"encoding/json"

	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter validate: policies by rules. Requests that no rule is about have the default's
// policy; without a default they pass untouched.
type Config struct {
	sdk.Rules[Policy]
}

// Policy says what the body of a request must be.
type Policy struct {
	// Schema is a JSON Schema, of draft 2020-12 unless its $schema names another one. It may refer to itself only.
	Schema json.RawMessage `json:"schema"`
	// BodyOptional lets requests without a body pass.
	BodyOptional bool `json:"bodyOptional,omitempty"`
	// AnyContentType reads bodies as JSON whatever their content-type says. Without it, it must be application/json or end
	// with +json.
	AnyContentType bool `json:"anyContentType,omitempty"`
	// MaxBodyBytes is the longest body that is held. A longer one is answered with 413.
	MaxBodyBytes int `json:"maxBodyBytes,omitempty" min:"1" max:"16777216" default:"1048576"`
	// Explain tells clients where a body does not fit, and why.
	Explain bool `json:"explain,omitempty"`
	// ReportOnly lets everything pass, and counts what would not have.
	ReportOnly bool `json:"reportOnly,omitempty"`
}
