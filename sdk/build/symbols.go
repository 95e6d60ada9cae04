package build

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SymbolsSuffix ends the name of a module's symbol file: NAME.symbols, beside NAME.wasm.
const SymbolsSuffix = ".symbols"

// maxSymbols is the size of the largest symbol file that is read, in bytes.
const maxSymbols = 64 << 20

// ErrSymbols means that a file is no symbol file.
var ErrSymbols = errors.New("not a symbol file")

// Symbols name a module's functions, whose names are not in the module itself. The zero value knows none.
type Symbols struct {
	// SHA256 is that of the module, in hex.
	SHA256 string
	// Functions by number, imported ones first, as engines number them.
	Functions map[uint32]Symbol
}

// Symbol is a function.
type Symbol struct {
	// Name as Go writes it: main.(*visit).OnRequestHeaders.
	Name string
	// Place is file:line of its declaration, for functions of the filter and of the modules that it imports; empty: not known. A file of the
	// filter's own folder has its base name only.
	Place string
}

// symbolsHeader begins a symbol file; the module's digest follows.
const symbolsHeader = "waft symbols 1 sha256:"

// encode is the file: a header, then a line for each function, its number, name and place, with tabs between.
func (s Symbols) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\n", symbolsHeader, s.SHA256)
	for _, i := range slices.Sorted(maps.Keys(s.Functions)) {
		f := s.Functions[i]
		fmt.Fprintf(&b, "%d\t%s\t%s\n", i, f.Name, f.Place)
	}
	return b.Bytes()
}

// ReadSymbols reads a symbol file. Its errors wrap ErrSymbols, or are the file system's.
func ReadSymbols(path string) (Symbols, error) {
	file, err := os.Open(path)
	if err != nil {
		return Symbols{}, fmt.Errorf("symbols: %w", err)
	}
	defer file.Close()
	return parseSymbols(path, io.LimitReader(file, maxSymbols))
}

// parseSymbols reads what encode writes.
func parseSymbols(path string, file io.Reader) (Symbols, error) {
	s := Symbols{Functions: map[uint32]Symbol{}}
	lines := bufio.NewScanner(file)
	headed := false
	if lines.Scan() {
		s.SHA256, headed = strings.CutPrefix(lines.Text(), symbolsHeader)
	}
	if !headed || len(s.SHA256) != 64 {
		return Symbols{}, fmt.Errorf("%s: %w: it does not begin with %q; `waft build` writes NAME%s beside the module", path, ErrSymbols, symbolsHeader, SymbolsSuffix)
	}
	for at := 2; lines.Scan(); at++ {
		parts := strings.Split(lines.Text(), "\t")
		index, err := strconv.ParseUint(parts[0], 10, 32)
		if err != nil || len(parts) != 3 {
			return Symbols{}, fmt.Errorf("%s:%d: %w", path, at, ErrSymbols)
		}
		s.Functions[uint32(index)] = Symbol{Name: parts[1], Place: parts[2]}
	}
	if err := lines.Err(); err != nil {
		return Symbols{}, fmt.Errorf("%s: %w: %w", path, ErrSymbols, err)
	}
	return s, nil
}

// frame is how engines write a function that they have no name for: wazero, Envoy's V8, and V8 by itself.
var frame = regexp.MustCompile(`\.\$(\d+)\([\w,]*\)(?: ?[\w(),]+)?|unknown ?\(function index: ?(\d+)\)|wasm-function\[(\d+)\]`)

// Resolve puts names in the place of numbers in what an engine says of a trap.
func (s Symbols) Resolve(text string) string {
	return frame.ReplaceAllStringFunc(text, func(found string) string {
		for _, digits := range frame.FindStringSubmatch(found)[1:] {
			if digits == "" {
				continue
			}
			index, err := strconv.ParseUint(digits, 10, 32)
			if f, ok := s.Functions[uint32(index)]; err == nil && ok {
				return f.String()
			}
		}
		return found
	})
}

// String is the name, with the place behind it.
func (s Symbol) String() string {
	if s.Place == "" {
		return s.Name
	}
	return s.Name + " (" + s.Place + ")"
}

// symbols reads the names that the linker gave, and finds them in the source: the linker writes "_" for whatever is no letter, digit
// or point.
func (s *source) symbols(wasm []byte) (Symbols, error) {
	list, err := sections(wasm)
	if err != nil {
		return Symbols{}, err
	}
	names, err := functionNames(list)
	if err != nil {
		return Symbols{}, err
	}
	declared := s.declared()
	out := Symbols{Functions: make(map[uint32]Symbol, len(names))}
	for index, name := range names {
		base, suffix := name, ""
		if at := closure.FindStringIndex(name); at != nil {
			base, suffix = name[:at[0]], name[at[0]:]
		}
		if d, ok := declared[base]; ok {
			out.Functions[index] = Symbol{Name: d.Name + suffix, Place: d.Place}
			continue
		}
		out.Functions[index] = Symbol{Name: pointer.ReplaceAllString(name, ".(*$1).")}
	}
	return out, nil
}

var (
	// closure is what the compiler puts behind a function's name for those inside of it.
	closure = regexp.MustCompile(`(?:\.func\d+[\w.]*|\.gowrap\d+|_fm|\.deferwrap\d+)$`)
	// pointer is a method's receiver, as the linker writes it.
	pointer = regexp.MustCompile(`\.__(\w+?)_\.`)
	// notInNames is what the linker writes "_" for.
	notInNames = regexp.MustCompile(`[^\w.]`)
)

// declared are the functions of the filter and of the modules that it imports, by the linker's names. The standard library is left
// out: it is large, and its stacks are in a panic's own words.
func (s *source) declared() map[string]Symbol {
	out := map[string]Symbol{}
	for _, p := range s.all {
		if p.Module == nil {
			continue
		}
		path := p.PkgPath
		if p == s.main {
			path = "main"
		}
		for _, file := range p.GoFiles {
			place := filepath.Base(file)
			if p != s.main {
				place = p.PkgPath + "/" + place
			}
			set := token.NewFileSet()
			parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
			if err != nil {
				continue // it did compile, so it is generated, or gone by now
			}
			for _, d := range parsed.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					name := path + "." + receiver(f) + f.Name.Name
					out[notInNames.ReplaceAllString(name, "_")] = Symbol{Name: name, Place: fmt.Sprintf("%s:%d", place, set.Position(f.Pos()).Line)}
				}
			}
		}
	}
	return out
}

// receiver is what stands before a method's name: "(*T)." or "T.".
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) != 1 {
		return ""
	}
	of := ast.Unparen(f.Recv.List[0].Type)
	star, isPointer := of.(*ast.StarExpr)
	if isPointer {
		of = star.X
	}
	name, ok := of.(*ast.Ident)
	switch {
	case !ok:
		return ""
	case isPointer:
		return "(*" + name.Name + ")."
	}
	return name.Name + "."
}
