// Command readdir is a filter that Envoys before 1.39 cannot load: it lists a folder.
package main

import (
	"os"

	"github.com/waft-project/waft/sdk"
)

type config struct {
	Folder string `json:"folder"` // Folder to list.
}

type filter struct{ entries int }

func init() { sdk.Register(configure) }

func main() {}

func configure(_ *sdk.Plugin, c *config) (sdk.Filter, error) {
	n, err := count(c.Folder)
	if err != nil {
		return nil, err
	}
	return &filter{n}, nil
}

func count(folder string) (int, error) {
	entries, err := os.ReadDir(folder)
	return len(entries), err
}

func (f *filter) NewHandler() sdk.Handler { return f }
