package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/wholefile"
)

// The resources of the chain that serves are shown to applications on the node, as files:
//
//	DIR/current                    a symbolic link to the set of the chain that serves
//	DIR/sets/SET/COLLECTION.json   one file for each collection
//
// A set is written whole before the link is replaced, by rename, and is not changed after that: who resolves the link once, and reads what it leads to,
// sees one chain whole. The set before stays, for who has just resolved the link.
const (
	currentLink = "current"
	setsFolder  = "sets"
)

// shownCollection is such a file.
type shownCollection struct {
	// Chain is the hash of the chain.
	Chain      string          `json:"chain"`
	Collection string          `json:"collection"`
	Resources  []shownResource `json:"resources"`
}

type shownResource struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Body    shownBody `json:"body"`
}

// shownBody is a message as waft apply takes an opaque one.
type shownBody struct {
	Type  string `json:"@type"`
	Value []byte `json:"value"`
}

// toShow is the chain whose resources are to be shown; false: those that are shown stay, since it is not known yet what serves. What is not proved is not shown: a
// chain that Envoy does not take never reaches an application.
func toShow(t *trial, good *chain) (*chain, bool) {
	switch {
	case t.pending():
		return nil, false
	case t != nil && !t.proved.IsZero():
		return t.chain, true
	}
	return good, good != nil
}

// show puts the resources of a chain into a new set, and the link to it.
func show(dir string, c *chain, from *bodies) error {
	link := filepath.Join(dir, currentLink)
	before, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) && len(c.Resources) == 0 {
		return nil // there never were any
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what is shown: %w", err)
	}
	sets := filepath.Join(dir, setsFolder)
	if err := os.MkdirAll(sets, 0o755); err != nil {
		return err
	}
	set, err := os.MkdirTemp(sets, "")
	if err != nil {
		return err
	}
	if err := fill(set, c, from); err != nil {
		return errors.Join(err, os.RemoveAll(set))
	}
	target := filepath.Join(setsFolder, filepath.Base(set))
	fresh := filepath.Join(dir, "."+currentLink)
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, link); err != nil {
		return err
	}
	entries, err := os.ReadDir(sets)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != filepath.Base(set) && name != filepath.Base(before) {
			if err := os.RemoveAll(filepath.Join(sets, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill writes the files of a set.
func fill(set string, c *chain, from *bodies) error {
	if err := os.Chmod(set, 0o755); err != nil { // the folder above says who may read
		return err
	}
	for collection, resources := range c.byCollection() {
		file := shownCollection{Chain: c.Hash, Collection: collection, Resources: []shownResource{}}
		for _, r := range resources {
			held, err := from.get(r.Digest)
			if err != nil {
				return fmt.Errorf("resource %s: %w", r.key(), err)
			}
			body := shownBody{Type: held.GetBody().GetTypeUrl(), Value: append([]byte{}, held.GetBody().GetValue()...)}
			file.Resources = append(file.Resources, shownResource{Name: r.Name, Version: r.Version, Body: body})
		}
		content, err := json.Marshal(file)
		if err != nil {
			return err
		}
		// A name of a collection is words with slashes between; model.ValidateCollection has seen to that when it came.
		path := filepath.Join(set, filepath.FromSlash(collection)+".json")
		if err := model.ValidateCollection("collection", "name", collection); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := wholefile.Replace(path, append(content, '\n')); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// showRetry is after how long resources that could not be shown are tried again.
const showRetry = 10 * time.Second

// showResources shows what is to be shown, where that is something else than before, and returns when to try again; zero: no need. That it fails is no reason
// for Envoy to wait: what is shown stays.
func (d *driver) showResources() (again time.Time) {
	c, known := toShow(d.trial, d.state.read().Good)
	if !known || c.version() == d.shown {
		return time.Time{}
	}
	if now := time.Now(); now.Before(d.showAfter) {
		return d.showAfter
	}
	if err := show(d.config.ResourcesDir, c, d.inbox.bodies); err != nil {
		d.showAfter = time.Now().Add(jitter(showRetry))
		d.log.Error("the resources of the chain cannot be shown; those of the chain before stay; check the disk, and start the agent anew to have a damaged one sent again",
			"folder", d.config.ResourcesDir, "chain", c.Hash, "error", err)
		return d.showAfter
	}
	d.shown = c.version()
	return time.Time{}
}
