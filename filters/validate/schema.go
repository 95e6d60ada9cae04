package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waft-project/waft/sdk"
)

// schemaAddress is where a schema is said to be, for references within it. There is no such host (RFC 2606, section 2).
const schemaAddress = "https://schema.invalid/"

// maxExplanation is the most bytes that a client is told.
const maxExplanation = 2 << 10

// policy is a compiled Policy.
type policy struct {
	Policy
	schema *jsonschema.Schema
}

func compilePolicy(at string, from *Policy) (*policy, error) {
	document, err := decode(from.Schema)
	if err != nil {
		return nil, sdk.ConfigErrorf(at+".schema", "%v", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource(schemaAddress, document); err != nil {
		return nil, sdk.ConfigErrorf(at+".schema", "%v", err)
	}
	schema, err := compiler.Compile(schemaAddress)
	if err != nil {
		return nil, sdk.ConfigErrorf(at+".schema", "it is no JSON Schema: %v", err)
	}
	return &policy{*from, schema}, nil
}

// noLoader refuses to fetch schemas: a filter has no files, and what a request is checked against must not change on its own.
type noLoader struct{}

// Load is always an error.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema may refer to itself only, not to %s; put what it needs into $defs", url)
}

// explain says where a body does not fit, and why, for the client that sent it.
func explain(err error) string {
	// The first line of the library's text is about the schema's address.
	_, text, _ := strings.Cut(err.Error(), "\n")
	return text[:min(len(text), maxExplanation)]
}

// places are the parts of a body that do not fit, without their values.
func places(err error) []string {
	var fault *jsonschema.ValidationError
	if !errors.As(err, &fault) {
		return nil
	}
	const most = 8
	var out []string
	var walk func(*jsonschema.ValidationError)
	walk = func(f *jsonschema.ValidationError) {
		if len(f.Causes) == 0 && len(out) < most {
			out = append(out, "/"+strings.Join(f.InstanceLocation, "/")+" ("+strings.Join(f.ErrorKind.KeywordPath(), "/")+")")
		}
		for _, cause := range f.Causes {
			walk(cause)
		}
	}
	walk(fault)
	return out
}
