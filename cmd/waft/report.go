package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/testresult"
)

// checkReport refuses what --report and --module cannot do.
func checkReport(report, moduleFile string, fuzzing bool, dirs []filterDir) error {
	switch {
	case fuzzing && (report != "" || moduleFile != ""):
		return usagef("waft test: --fuzz makes no report, and fuzzes what it builds; leave out --report and --module")
	case moduleFile != "" && len(dirs) > 1:
		return usagef("waft test: --module is one module; name the one folder with its scenarios")
	case report != "" && len(dirs) > 1 && !isFolder(report):
		return usagef("waft test: --report %s: the reports of %d filters need a folder; make one, or end its name with a slash", report, len(dirs))
	case report == "":
		return nil
	}
	return differentNames(dirs) // their reports would overwrite one another
}

// isFolder says whether a path names a folder, one that is there or one that is meant.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return strings.HasSuffix(path, string(filepath.Separator)) || err == nil && info.IsDir()
}

// reportPath is where the report of the filter in a folder goes.
func reportPath(report, dir string) string {
	if isFolder(report) {
		return filepath.Join(report, filepath.Base(mustAbs(dir))+testresult.Suffix)
	}
	return report
}

// fileDigests name scenario files by their content.
func fileDigests(files []filtertest.File) ([]testresult.File, error) {
	var out []testresult.File
	for _, f := range files {
		sum, err := fileSHA256(f.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, testresult.File{Name: filepath.Base(f.Path), SHA256: sum})
	}
	return out, nil
}

// writeReport writes what came of a filter, good or bad.
func writeReport(path string, t tested) error {
	tests := testresult.Tests{Name: filepath.Base(mustAbs(t.Filter)), SHA256: t.SHA256, Files: t.files, Runs: t.runs}
	for _, m := range t.Mismatches {
		tests.Failures = append(tests.Failures, "Envoy and wasmhost differ: "+filepath.Base(m.File)+": "+m.Name)
	}
	for _, d := range t.Traces {
		tests.Failures = append(tests.Failures, "pinned trace: "+d.What)
	}
	text, err := tests.Encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeFile(path, text)
}

// scenarioReport is a report to be published: the statement, and what it says.
type scenarioReport struct {
	statement, predicate []byte
}

// readReport reads the report that is to be published with a module: the file that is named, or the one beside the module where it is
// there.
func readReport(wasmFile, file, sha256 string) (scenarioReport, error) {
	path := file
	if path == "" {
		path = strings.TrimSuffix(wasmFile, filepath.Ext(wasmFile)) + testresult.Suffix
	}
	r, statement, err := testresult.Read(path, sha256)
	if file == "" && errors.Is(err, fs.ErrNotExist) {
		return scenarioReport{}, nil
	}
	return scenarioReport{statement, r.Predicate}, err
}
