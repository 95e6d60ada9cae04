package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/waft-project/waft/distributor/model"
)

// secretSources say which secrets of this machine a chain may name. Whoever may release a chain chooses what it names, so nothing is allowed that is not said here;
// whether a file exists that is not allowed, it does not tell either. The zero value allows none.
type secretSources struct {
	// dirs are the folders whose files may be named, as absolute paths.
	dirs []string
	// prefixes are those of the environment variables that may be named.
	prefixes []string
	// lookUp is os.LookupEnv.
	lookUp func(string) (string, bool)
	// kept gives a secret that the distributor keeps; errAwaited: it has not come yet.
	kept func(model.SecretRef) (string, error)
}

// read gives the value of a secret. The error says what was looked for, where, and what to do; it never holds any of the value.
func (s secretSources) read(ref model.SecretRef) (string, error) {
	switch {
	case ref.Kept():
		return s.kept(ref)
	case ref.File != "":
		return s.readFile(ref.File)
	}
	return s.readEnv(ref.Env)
}

func (s secretSources) readEnv(name string) (string, error) {
	allowed := false
	for _, prefix := range s.prefixes {
		allowed = allowed || strings.HasPrefix(name, prefix)
	}
	if !allowed {
		return "", fmt.Errorf("the agent takes no secret from the environment variable %s: %s; allow it with --secret-env", name, onlyFrom("those that begin with", s.prefixes))
	}
	value, there := s.lookUp(name)
	if !there {
		return "", fmt.Errorf("the agent's environment has no variable %s; set it and start the agent again", name)
	}
	return secretValue("the environment variable "+name, []byte(value))
}

func (s secretSources) readFile(path string) (string, error) {
	for _, dir := range s.dirs {
		within, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(within) || within == "." {
			continue
		}
		return readSecretFile(dir, within)
	}
	return "", fmt.Errorf("the agent takes no secret from the file %s: %s; allow its folder with --secret-dir", path, onlyFrom("files below", s.dirs))
}

// readSecretFile reads a file below a folder. Symbolic links are followed as long as they stay below it, as those do with which Kubernetes swaps secrets.
func readSecretFile(dir, within string) (string, error) {
	path := filepath.Join(dir, within)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("the folder %s cannot be opened: %w", dir, reason(err))
	}
	defer func() { _ = root.Close() }() // read only
	// Not to wait for who may write into a pipe.
	file, err := root.OpenFile(within, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no file %s", path)
	}
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be opened: %w", path, reason(err))
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", path, reason(err))
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, model.MaxSecret+3)) // a line's end of two bytes, and one too many
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", path, reason(err))
	}
	return secretInFile(path, content)
}

// secretInFile is the value in a file's content: without the end of a line behind it, which editors write.
func secretInFile(path string, content []byte) (string, error) {
	if line, ended := bytes.CutSuffix(content, []byte("\n")); ended {
		content = bytes.TrimSuffix(line, []byte("\r"))
	}
	return secretValue("the file "+path, content)
}

// reason is why, without the path, which the caller says.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

func secretValue(from string, value []byte) (string, error) {
	if problem := model.SecretProblem(value); problem != "" {
		return "", fmt.Errorf("%s %s", from, problem)
	}
	return string(value), nil
}

// onlyFrom says what is allowed.
func onlyFrom(what string, allowed []string) string {
	if len(allowed) == 0 {
		return "none is allowed"
	}
	return "allowed are " + what + " " + strings.Join(allowed, ", ")
}
