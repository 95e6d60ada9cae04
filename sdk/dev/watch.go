package dev

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// snapshot is what the files that a filter is made of look like. Two equal ones are taken for the same source.
type snapshot map[string]stamp

type stamp struct {
	size int64
	at   time.Time
}

func (s snapshot) equal(o snapshot) bool { return maps.Equal(s, o) }

// snapshot looks at the filter's folder and what is below it, at the packages of its module that it imports, at go.mod and go.sum,
// and at the files that hold its configuration.
func (s *session) snapshot(ctx context.Context) snapshot {
	out := snapshot{}
	_ = filepath.WalkDir(s.Dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it is being written; the next look finds it
		case entry.IsDir() && path != s.Dir && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "dist"):
			return filepath.SkipDir
		case !entry.IsDir() && watched(entry.Name()):
			out.add(path)
		}
		return nil
	})
	for _, path := range []string{s.ConfigFile, s.Scenarios} {
		if path != "" {
			out.add(path)
		}
	}
	s.list(ctx)
	for dir := range s.dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !e.IsDir() && watched(e.Name()) {
				out.add(filepath.Join(dir, e.Name()))
			}
		}
	}
	return out
}

// watched leaves out editors' own files, and tests, which are no part of the module.
func watched(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "~") && !strings.HasSuffix(name, ".swp") && !strings.HasSuffix(name, "_test.go")
}

func (s snapshot) add(path string) {
	if info, err := os.Stat(path); err == nil {
		s[path] = stamp{info.Size(), info.ModTime()}
	}
}

// list asks for the folders of the packages of the filter's own module that it imports, and of the module itself: once, and again
// after a change, since what a filter imports changes with its source. What was imported once is watched for ever: while the source
// is broken the go command may not know it.
func (s *session) list(ctx context.Context) {
	if s.listed {
		return
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-e", "-f", "{{with .Module}}{{if .Main}}{{.Dir}}\n{{$.Dir}}{{end}}{{end}}", ".")
	cmd.Dir, cmd.Env = s.Dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	text, err := cmd.Output()
	if err != nil {
		return // the build says what is wrong
	}
	s.listed = true
	if s.dirs == nil {
		s.dirs = map[string]bool{}
	}
	for line := range bytes.Lines(text) {
		if dir := strings.TrimSpace(string(line)); dir != "" {
			s.dirs[dir] = true
		}
	}
}
