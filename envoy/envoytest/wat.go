package envoytest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// assembleWAT makes a module of its text, https://webassembly.github.io/spec/core/text/: of as much of that as testdata/small needs. Instructions are not folded, what
// is exported says so itself, and every type is written where it is used.
func assembleWAT(text string) (wasm []byte, err error) {
	tokens, err := watTokens(text)
	if err != nil {
		return nil, err
	}
	rest, err := watList(&tokens)
	if err != nil {
		return nil, err
	}
	a := watModule{index: map[string]uint32{}}
	defer func() { // the text is ours: what it lacks is found where it is used
		if r := recover(); r != nil {
			wasm, err = nil, fmt.Errorf("assemble: %v", r)
		}
	}()
	return a.module(rest), nil
}

// watNode is a word, a text with its quotes, or a list.
type watNode struct {
	word string
	list []watNode
}

func (n watNode) is(keyword string) bool { return len(n.list) > 0 && n.list[0].word == keyword }

// text is what a text in quotes says.
func (n watNode) text() string {
	s, err := strconv.Unquote(n.word)
	if err != nil {
		panic(fmt.Sprintf("%s is no text in quotes", n.word))
	}
	return s
}

func watTokens(text string) ([]string, error) {
	var tokens []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		size := 1
		switch {
		case strings.HasPrefix(text, ";;"):
			_, text, _ = strings.Cut(text, "\n")
			continue
		case text[0] == '(' || text[0] == ')':
		case text[0] == '"':
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, fmt.Errorf("assemble: a text that does not end: %.40s", text)
			}
			size = len(quoted)
		default:
			if size = strings.IndexAny(text, " \n\t()\""); size < 0 {
				size = len(text)
			}
		}
		tokens, text = append(tokens, text[:size]), text[size:]
	}
	return tokens, nil
}

// watList takes a list from the tokens.
func watList(tokens *[]string) ([]watNode, error) {
	if len(*tokens) == 0 || (*tokens)[0] != "(" {
		return nil, fmt.Errorf("assemble: no list begins at %.3q", *tokens)
	}
	*tokens = (*tokens)[1:]
	var list []watNode
	for len(*tokens) > 0 {
		switch token := (*tokens)[0]; token {
		case "(":
			inner, err := watList(tokens)
			if err != nil {
				return nil, err
			}
			list = append(list, watNode{list: inner})
		case ")":
			*tokens = (*tokens)[1:]
			return list, nil
		default:
			list = append(list, watNode{word: token})
			*tokens = (*tokens)[1:]
		}
	}
	return nil, fmt.Errorf("assemble: a list that does not end: %+.3v", list)
}

// watModule is what is known of a module while it is made.
type watModule struct {
	types []string          // encoded
	index map[string]uint32 // of functions, and of globals
}

// The sections that are made, by their ids.
const (
	sectionTypes     = 1
	sectionImports   = 2
	sectionFunctions = 3
	sectionMemory    = 5
	sectionGlobals   = 6
	sectionExports   = 7
	sectionCode      = 10
	sectionData      = 11
)

const typeI32, typeI64 = 0x7f, 0x7e

func (a *watModule) module(list []watNode) []byte {
	var functions []watNode
	sections := map[byte][][]byte{}
	add := func(section byte, parts ...[]byte) {
		sections[section] = append(sections[section], slices.Concat(parts...))
	}
	// Imported functions come before the module's own.
	for _, n := range list {
		if n.is("import") {
			function := n.list[3]
			a.index[function.list[1].word] = uint32(len(sections[sectionImports]))
			add(sectionImports, named(n.list[1].text()), named(n.list[2].text()), []byte{0}, unsigned(a.typeOf(function)))
		}
	}
	for _, n := range list {
		switch {
		case n.is("func"):
			index := uint32(len(sections[sectionImports]) + len(functions))
			functions = append(functions, n)
			add(sectionFunctions, unsigned(a.typeOf(n)))
			for _, part := range n.list[1:] {
				if strings.HasPrefix(part.word, "$") {
					a.index[part.word] = index
				} else if !part.is("export") {
					break
				} else {
					add(sectionExports, named(part.list[1].text()), []byte{0}, unsigned(index))
				}
			}
		case n.is("export"): // of the memory
			add(sectionExports, named(n.list[1].text()), []byte{2, 0})
		case n.is("memory"):
			add(sectionMemory, []byte{0}, unsigned(uint32(number(n.list[1].word))))
		case n.is("global"):
			a.index[n.list[1].word] = uint32(len(sections[sectionGlobals]))
			add(sectionGlobals, []byte{typeI32, 1}, constant(n.list[3]))
		case n.is("data"):
			add(sectionData, []byte{0}, constant(n.list[1]), named(n.list[2].text()))
		}
	}
	for _, n := range functions {
		body := a.body(n)
		add(sectionCode, unsigned(uint32(len(body))), body)
	}
	for _, t := range a.types {
		add(sectionTypes, []byte(t))
	}
	wasm := []byte("\x00asm\x01\x00\x00\x00")
	for _, id := range []byte{sectionTypes, sectionImports, sectionFunctions, sectionMemory, sectionGlobals, sectionExports, sectionCode, sectionData} {
		content := append(unsigned(uint32(len(sections[id]))), bytes.Join(sections[id], nil)...)
		wasm = slices.Concat(wasm, []byte{id}, unsigned(uint32(len(content))), content)
	}
	return wasm
}

// typeOf is the index of a function's type.
func (a *watModule) typeOf(function watNode) uint32 {
	var params, results []byte
	for _, part := range function.list {
		switch {
		case part.is("param"):
			params = append(params, valueTypes(part)...)
		case part.is("result"):
			results = append(results, valueTypes(part)...)
		}
	}
	t := string(slices.Concat([]byte{0x60}, unsigned(uint32(len(params))), params, unsigned(uint32(len(results))), results))
	if i := slices.Index(a.types, t); i >= 0 {
		return uint32(i)
	}
	a.types = append(a.types, t)
	return uint32(len(a.types) - 1)
}

// valueTypes are those of a param, a result or a local, which may have a name.
func valueTypes(part watNode) []byte {
	var types []byte
	for _, n := range part.list[1:] {
		switch n.word {
		case "i32":
			types = append(types, typeI32)
		case "i64":
			types = append(types, typeI64)
		}
	}
	return types
}

// plain are the instructions that nothing follows.
var plain = map[string][]byte{
	"unreachable": {0x00}, "return": {0x0f}, "drop": {0x1a}, "else": {0x05}, "memory.size": {0x3f, 0}, "memory.grow": {0x40, 0},
	"i32.eqz": {0x45}, "i32.eq": {0x46}, "i32.ne": {0x47}, "i32.lt_u": {0x49}, "i32.gt_u": {0x4b}, "i32.ge_u": {0x4f},
	"i32.add": {0x6a}, "i32.sub": {0x6b}, "i32.and": {0x71}, "i32.shl": {0x74},
}

// Those that a label, a name or a number follows.
var (
	blocks   = map[string]byte{"loop": 0x03, "if": 0x04}
	branches = map[string]byte{"br": 0x0c, "br_if": 0x0d}
	variable = map[string]byte{"local.get": 0x20, "local.set": 0x21, "local.tee": 0x22, "global.get": 0x23, "global.set": 0x24, "call": 0x10}
	memory   = map[string]byte{"i32.load": 0x28, "i32.load8_u": 0x2d, "i32.store": 0x36, "i32.store8": 0x3a}
)

func (a *watModule) body(function watNode) []byte {
	locals, own := map[string]uint32{}, uint32(0)
	var labels, words []string
	for _, part := range function.list[1:] {
		switch {
		case part.is("param"), part.is("local"):
			locals[part.list[1].word] = uint32(len(locals))
			if part.is("local") {
				own++
			}
		case part.word != "" && !(len(words) == 0 && strings.HasPrefix(part.word, "$")):
			words = append(words, part.word)
		}
	}
	out := []byte{0}
	if own > 0 {
		out = append(append([]byte{1}, unsigned(own)...), typeI32)
	}
	next := func() string {
		word := words[0]
		words = words[1:]
		return word
	}
	for len(words) > 0 {
		word := next()
		if code, is := plain[word]; is {
			out = append(out, code...)
		} else if code, is := blocks[word]; is {
			label := ""
			if len(words) > 0 && strings.HasPrefix(words[0], "$") {
				label = next()
			}
			labels = append(labels, label)
			out = append(out, code, 0x40) // without a result
		} else if code, is := branches[word]; is {
			label := next()
			i := slices.Index(labels, label)
			if i < 0 {
				panic("no block " + label)
			}
			out = append(append(out, code), unsigned(uint32(len(labels)-1-i))...)
		} else if code, is := variable[word]; is {
			name := next()
			i, is := locals[name]
			if !is || !strings.HasPrefix(word, "local.") {
				if i, is = a.index[name]; !is {
					panic("no " + name)
				}
			}
			out = append(append(out, code), unsigned(i)...)
		} else if code, is := memory[word]; is {
			offset := int64(0)
			if len(words) > 0 && strings.HasPrefix(words[0], "offset=") {
				offset = number(strings.TrimPrefix(next(), "offset="))
			}
			out = append(append(out, code, 0), unsigned(uint32(offset))...)
		} else if word == "i32.const" {
			out = append(append(out, 0x41), signed(number(next()))...)
		} else if word == "i64.const" {
			out = append(append(out, 0x42), signed(number(next()))...)
		} else if word == "end" {
			labels, out = labels[:len(labels)-1], append(out, 0x0b)
		} else {
			panic("no instruction " + word)
		}
	}
	if len(labels) > 0 {
		panic("a block that does not end")
	}
	return append(out, 0x0b)
}

// constant is the expression of (i32.const N).
func constant(n watNode) []byte {
	return append(append([]byte{0x41}, signed(number(n.list[1].word))...), 0x0b)
}

func number(word string) int64 {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// named is a text behind its length.
func named(text string) []byte { return append(unsigned(uint32(len(text))), text...) }

// unsigned and signed are a number in LEB128.
func unsigned(v uint32) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func signed(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
