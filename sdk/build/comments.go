package build

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
)

// comments finds what the source says about types and fields, in whatever package they stand.
type comments struct {
	source *source
	fset   *token.FileSet
	files  map[string]map[position]string // by path
}

// position of a name within a file.
type position struct {
	line int
	name string
}

// of gives the comment of a type or a field: its doc comment, or else the one behind it on its line. Paragraphs stay apart;
// the lines of one are joined.
func (c *comments) of(obj types.Object) string {
	if obj.Pkg() == nil || !obj.Pos().IsValid() {
		return ""
	}
	at := c.fset.Position(obj.Pos())
	path := at.Filename
	if !filepath.IsAbs(path) || strings.Contains(path, "@") {
		// Compiled with its folder trimmed.
		if f := c.source.file(obj.Pkg().Path(), filepath.Base(path)); f != "" {
			path = f
		}
	}
	if c.files == nil {
		c.files = map[string]map[position]string{}
	}
	texts, ok := c.files[path]
	if !ok {
		texts = readComments(path)
		c.files[path] = texts
	}
	return texts[position{at.Line, obj.Name()}]
}

// readComments reads the comments of a file's types and struct fields; none where it cannot be read, since a description
// that is missing breaks nothing.
func readComments(path string) map[position]string {
	out := map[position]string{}
	data, err := readFile(path)
	if err != nil {
		return out
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return out
	}
	put := func(id *ast.Ident, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if text := unwrap(g.Text()); text != "" {
				out[position{fset.Position(id.Pos()).Line, id.Name}] = text
				return
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			if n.Tok != token.TYPE {
				return true
			}
			for _, spec := range n.Specs {
				ts := spec.(*ast.TypeSpec) // the parser puts nothing else there
				groups := []*ast.CommentGroup{ts.Doc, ts.Comment}
				if !n.Lparen.IsValid() {
					groups = []*ast.CommentGroup{ts.Doc, n.Doc, ts.Comment}
				}
				put(ts.Name, groups...)
			}
		case *ast.StructType:
			for _, f := range n.Fields.List {
				for _, id := range f.Names {
					put(id, f.Doc, f.Comment)
				}
			}
		}
		return true
	})
	return out
}

// unwrap joins the lines of each paragraph of a comment.
func unwrap(text string) string {
	var paragraphs []string
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			paragraphs = append(paragraphs, p)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
