package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waft-project/waft/distributor/model"
)

// maxSchemas is how many compiled schemas are kept; beyond it the cache begins anew.
const maxSchemas = 1024

// schemas are the compiled JSON Schemas of modules' configurations, by the artifact's digest: two artifacts may carry the
// same module with different manifests. It may be used concurrently.
type schemas struct {
	modules Modules
	mu      sync.Mutex
	known   map[string]*jsonschema.Schema // nil: the module has none
}

func newSchemas(modules Modules) *schemas {
	return &schemas{modules: modules, known: map[string]*jsonschema.Schema{}}
}

// put compiles a schema that was given with its module.
func (c *schemas) put(module model.Module, text []byte) (*jsonschema.Schema, error) {
	schema, err := compileSchema(text)
	if err != nil {
		return nil, fmt.Errorf("the configuration schema of module %s cannot be used: %w", moduleName(module), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxSchemas {
		clear(c.known)
	}
	c.known[module.Artifact] = schema
	return schema, nil
}

// of is the schema of a module that was resolved before; nil when it has none.
func (c *schemas) of(ctx context.Context, module model.Module) (*jsonschema.Schema, error) {
	c.mu.Lock()
	schema, known := c.known[module.Artifact]
	c.mu.Unlock()
	if known {
		return schema, nil
	}
	text, err := c.modules.Schema(ctx, module)
	if err != nil {
		return nil, err
	}
	return c.put(module, text)
}

func moduleName(module model.Module) string {
	if module.Reference != "" {
		return module.Reference
	}
	return module.Digest
}

// noLoader refuses references out of a schema: it comes from a stranger, and reading what it names is not ours to do.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s, and references out of a schema are not followed", url)
}

// schemaURL is what a schema without an $id is called.
const schemaURL = "waft:schema"

func compileSchema(text []byte) (*jsonschema.Schema, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return compiler.Compile(schemaURL)
}

// misfit is where and why a configuration does not fit its schema.
type misfit struct {
	// path within the configuration: "", ".issuer", ".rules[0].path".
	path string
	why  string
}

// fit says where a configuration does not fit; nil when it does. No configuration is taken as the filter takes it: as
// nothing given, which an object of defaults and null both mean.
func fit(schema *jsonschema.Schema, config json.RawMessage) (*misfit, error) {
	if schema == nil {
		return nil, nil
	}
	if len(config) == 0 {
		if schema.Validate(nil) == nil {
			return nil, nil
		}
		return validate(schema, map[string]any{})
	}
	// What names a secret stands for a string.
	config, err := model.ReplaceSecrets(config, unknown)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	return validate(schema, value)
}

func validate(schema *jsonschema.Schema, value any) (*misfit, error) {
	err := schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil, err
	}
	if invalid = withoutUnknown(invalid, value); invalid == nil {
		return nil, nil
	}
	leaf := deepest(invalid)
	unit := leaf.BasicOutput()
	why := "does not fit the module's schema"
	if unit.Error != nil {
		why = unit.Error.String()
	}
	return &misfit{path: fieldPath(leaf.InstanceLocation, value), why: why}, nil
}

// deepest is the cause that lies deepest in the configuration, which is what its author can act on; the first among equals.
func deepest(err *jsonschema.ValidationError) *jsonschema.ValidationError {
	if len(err.Causes) == 0 {
		return err
	}
	var best *jsonschema.ValidationError
	for _, cause := range err.Causes {
		if leaf := deepest(cause); best == nil || len(leaf.InstanceLocation) > len(best.InstanceLocation) {
			best = leaf
		}
	}
	return best
}

// fieldPath writes a location as a person would: .rules[0].path. The value tells indexes from keys that look like one.
func fieldPath(location []string, value any) string {
	var b strings.Builder
	for _, token := range location {
		switch container := value.(type) {
		case []any:
			b.WriteString("[" + token + "]")
			value = nil
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(container) {
				value = container[i]
			}
		case map[string]any:
			if plainKey(token) {
				b.WriteString("." + token)
			} else {
				b.WriteString("[" + strconv.Quote(token) + "]")
			}
			value = container[token]
		default:
			b.WriteString("." + token)
		}
	}
	return b.String()
}

func plainKey(key string) bool {
	return key != "" && !strings.ContainsAny(key, `.[]"' `)
}

// checkChain says why a rendered chain must not run: a configuration that does not fit its module's schema, or a policy
// that would let requests past an AUTHN or AUTHZ filter. A nil error with a nil verdict is a chain that may run; an error
// says that it could not be checked.
func (s *Service) checkChain(ctx context.Context, chain model.Chain) (verdict, err error) {
	if n := countSecrets(chain); n > model.MaxChainSecrets {
		return model.Invalidf("chain", "filters", "name fewer in the releases of its layers", "its configurations name %d secrets, more than %d", n, model.MaxChainSecrets), nil
	}
	for _, f := range chain.Filters {
		object := "filter/" + f.Name
		if f.Module == nil {
			return model.Invalidf(object, "module", "give it one in a release of some layer", "no layer names a module"), nil
		}
		if err := model.CheckFailOpen(object, "failurePolicy", f.FilterSpec); err != nil {
			return err, nil
		}
		schema, err := s.schemas.of(ctx, *f.Module)
		if err != nil {
			return nil, err
		}
		bad, err := fit(schema, f.Config)
		if err != nil {
			return model.Invalidf(object, "config", "give JSON", "cannot be read: %v", err), nil
		}
		if bad != nil {
			return misfitError(object, "config"+bad.path, *f.Module, bad.why), nil
		}
	}
	return nil, nil
}

func misfitError(object, field string, module model.Module, why string) error {
	return model.Invalidf(object, field, "see `waft inspect "+moduleName(module)+"` for the schema", "%s", why)
}
