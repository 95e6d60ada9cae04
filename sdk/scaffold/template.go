package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
)

// Template is a kind of filter to begin with.
type Template struct {
	Name    string `json:"name"`
	Summary string `json:"summary"`
}

// DefaultTemplate is what a filter is made from when nobody says.
const DefaultTemplate = "headers"

// Templates lists the templates.
func Templates() []Template {
	return []Template{
		{"headers", "reads a request header, answers or sets a response header; a counter"},
		{"auth", "asks a service about each request and waits for its answer (an awaited callout)"},
		{"body", "reads whole JSON request bodies and masks fields in them"},
		{"tcp", "lets TCP connections in that begin with the right bytes"},
	}
}

// names lists the templates' names for a message.
func names() string {
	var all []string
	for _, t := range Templates() {
		all = append(all, t.Name)
	}
	return strings.Join(all, ", ")
}

// templates holds a folder for each template. Files end in .tmpl, so that neither the go command nor `waft test` takes them
// for what they become.
//
//go:embed all:templates
var templates embed.FS

// suffix is that of a template's files.
const suffix = ".tmpl"

// file is one file to write.
type file struct {
	path    string // slashes, relative to the filter's folder
	content []byte
}

// render gives the files of a template for a filter of some name. In a template, [[.Name]] is the filter's name.
func render(name, filter string) ([]file, error) {
	root := path.Join("templates", name)
	if _, err := fs.Stat(templates, root); err != nil || !fs.ValidPath(name) || strings.Contains(name, "/") {
		return nil, fmt.Errorf("template %q: %w; there are %s", name, ErrUnknownTemplate, names())
	}
	var files []file
	err := fs.WalkDir(templates, root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(templates, at)
		if err != nil {
			return err
		}
		t, err := template.New(at).Delims("[[", "]]").Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, struct{ Name string }{filter}); err != nil {
			return err
		}
		files = append(files, file{strings.TrimSuffix(strings.TrimPrefix(at, root+"/"), suffix), b.Bytes()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return files, nil
}
