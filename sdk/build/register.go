package build

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/packages"
)

// sdkPath is the package whose Register a filter calls.
const sdkPath = "github.com/waft-project/waft/sdk"

// registration is a call of sdk.Register, sdk.RegisterNetwork or sdk.RegisterRaw.
type registration struct {
	pos token.Position
	// config is the type of the configuration; nil for RegisterRaw.
	config types.Type
}

// configSchema derives the JSON Schema of the configuration from the filter's call of sdk.Register. It is nil where there is
// no such call, and the warnings say so.
func (tc toolchain) configSchema(ctx context.Context, src *source) (json.RawMessage, []Finding, error) {
	unknown := func(why string) (json.RawMessage, []Finding, error) {
		return nil, []Finding{{Message: "its configuration cannot be validated before it reaches Envoy: " + why, Next: "register the filter by sdk.Register with a config struct"}}, nil
	}
	var paths []string
	for _, p := range src.importers(sdkPath) {
		if p == src.main {
			paths = append(paths, ".")
		} else {
			paths = append(paths, p.PkgPath)
		}
	}
	if len(paths) == 0 {
		return unknown("it does not import " + sdkPath)
	}
	mode := packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes
	pkgs, err := packages.Load(tc.packagesConfig(ctx, mode), paths...)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, fmt.Errorf("%s: load its types: %w", tc.dir, err)
	}
	var found []registration
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			// It did compile, so this is about loading.
			return nil, nil, &Error{Subject: tc.dir, Kind: ErrConfig, Detail: firstLine(p.Errors[0].Error()), Next: "run `go vet` on it", Err: p.Errors[0]}
		}
		found = append(found, registrations(p)...)
	}
	switch {
	case len(found) == 0:
		return unknown("it never calls sdk.Register")
	case len(found) > 1:
		return nil, nil, &Error{Subject: tc.dir, Kind: ErrConfig,
			Detail: fmt.Sprintf("sdk.Register is called twice: %s and %s", found[0].pos, found[1].pos), Next: "a module registers one filter"}
	case found[0].config == nil:
		return unknown("it uses sdk.RegisterRaw")
	}
	if _, ok := types.Unalias(found[0].config).(*types.TypeParam); ok {
		return unknown("sdk.Register is called in a generic function")
	}
	schema, err := newSchemaWriter(&comments{source: src, fset: pkgs[0].Fset}).root(found[0].config)
	if err != nil {
		return nil, nil, &Error{Subject: tc.dir, Kind: ErrConfig, Detail: err.Error(), Next: "change the type of the configuration", Err: err}
	}
	return schema, nil, nil
}

// registrations finds the calls in a package.
func registrations(p *packages.Package) []registration {
	var out []registration
	for _, file := range p.Syntax {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			id := calleeIdent(call.Fun)
			if id == nil {
				return true
			}
			fn, ok := p.TypesInfo.Uses[id].(*types.Func)
			if !ok || fn.Pkg() == nil || fn.Pkg().Path() != sdkPath {
				return true
			}
			r := registration{pos: p.Fset.Position(call.Pos())}
			switch fn.Name() {
			case "Register", "RegisterNetwork":
				args := p.TypesInfo.Instances[id].TypeArgs
				if args == nil || args.Len() != 1 {
					return true
				}
				r.config = args.At(0)
			case "RegisterRaw":
			default:
				return true
			}
			out = append(out, r)
			return true
		})
	}
	return out
}

// calleeIdent is the name of the function that is called, with its package and its type arguments taken off.
func calleeIdent(e ast.Expr) *ast.Ident {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return e.Sel
	case *ast.IndexExpr:
		return calleeIdent(e.X)
	case *ast.IndexListExpr:
		return calleeIdent(e.X)
	}
	return nil
}
