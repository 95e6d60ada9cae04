package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Errors that a caller branches on.
var (
	// ErrExists means that there is something where the filter was to go.
	ErrExists = errors.New("exists already")
	// ErrUnknownTemplate means that no template has the name.
	ErrUnknownTemplate = errors.New("no such template")
	// ErrModule means that no Go module was found, or could be made, in which the filter's imports resolve.
	ErrModule = errors.New("the filter has no Go module to live in")
)

// A filter's name is a DNS label: it becomes a part of statistics' names, and releases and Envoy's VMs go by it.
const nameLimit = 63

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// Options say what to make. Dir is required.
type Options struct {
	// Dir is the folder to make; it must not exist. Its base name is the filter's name, a DNS label.
	Dir string
	// Template is one of Templates. Empty: DefaultTemplate.
	Template string
	// Module is the path of a Go module to make for the filter. Empty: the filter becomes a package of the module that encloses
	// Dir; where there is none, or where SDK is given, it gets a module that has its name.
	Module string
	// SDK is the folder of a checkout of waft: the new module takes waft from there, by a replace directive. Empty: from the
	// module proxy.
	SDK string
	// Version of waft that the new module requires. Empty: the latest.
	Version string
	// Go is the go command. Empty: "go", from the PATH.
	Go string
}

// Result is what New made.
type Result struct {
	// Name is the filter's name, Dir its folder, Template what it was made from.
	Name     string `json:"name"`
	Dir      string `json:"dir"`
	Template string `json:"template"`
	// Module is the path of the Go module that the filter belongs to; OwnModule says that New made it.
	Module    string `json:"module"`
	OwnModule bool   `json:"own_module"`
	// Files are what was written, relative to Dir, sorted.
	Files []string `json:"files"`
}

// New makes a filter. Its errors wrap ErrExists, ErrUnknownTemplate or ErrModule, or are those of the file system.
func New(ctx context.Context, opts Options) (Result, error) {
	if opts.Template == "" {
		opts.Template = DefaultTemplate
	}
	if opts.Go == "" {
		opts.Go = "go"
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return Result{}, fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	r := Result{Name: filepath.Base(dir), Dir: opts.Dir, Template: opts.Template}
	if len(r.Name) > nameLimit || !name.MatchString(r.Name) {
		return Result{}, fmt.Errorf("new filter %q: the name is no DNS label (a-z, 0-9 and hyphens, at most %d); give the folder another name", r.Name, nameLimit)
	}
	files, err := render(opts.Template, r.Name)
	if err != nil {
		return Result{}, err
	}
	if _, err := os.Lstat(dir); err == nil {
		return Result{}, fmt.Errorf("new filter in %s: %w; name another folder, or remove it", opts.Dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Result{}, fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	made, err := makeFolder(filepath.Dir(dir))
	if err != nil {
		return Result{}, fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	if err := write(ctx, dir, files, opts, &r); err != nil {
		made.remove()
		return Result{}, err
	}
	return r, nil
}

// write puts the files into a folder beside the final one, and renames it once everything is there.
func write(ctx context.Context, dir string, files []file, opts Options, r *Result) (err error) {
	home, err := findModule(ctx, dir, r.Name, opts)
	if err != nil {
		return err
	}
	r.Module, r.OwnModule = home.path, home.own
	// The go command passes over folders that begin with a point, so a filter that is not there yet is not in anybody's way.
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+r.Name+"-*")
	if err != nil {
		return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(temp) // the first error is the one that tells
		}
	}()
	if home.own {
		files = append(files, file{"go.mod", home.goMod()})
	}
	for _, f := range files {
		path := filepath.Join(temp, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
		}
		if err := os.WriteFile(path, f.content, 0o644); err != nil {
			return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
		}
	}
	if home.own {
		if err := home.resolve(ctx, temp); err != nil {
			return err
		}
	}
	if r.Files, err = list(temp); err != nil {
		return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("new filter in %s: %w", opts.Dir, err)
	}
	return nil
}

// madeFolders are the folders that New made on the way to the filter's, the outermost last.
type madeFolders []string

// makeFolder makes a folder and those above it.
func makeFolder(dir string) (madeFolders, error) {
	var made madeFolders
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	return made, os.MkdirAll(dir, 0o755)
}

// remove takes away what is still empty.
func (m madeFolders) remove() {
	for _, dir := range m {
		_ = os.Remove(dir) // somebody else may have put something into it
	}
}

// list names the files below a folder, sorted.
func list(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(relative))
		return err
	})
	return names, err
}
