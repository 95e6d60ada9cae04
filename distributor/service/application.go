package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// introduceApplication takes over which version of it an application says it is, and says whether that changed its row. What an agent or an Envoy of that id said before
// is forgotten; mu is held.
func introduceApplication(row *model.Node, hello NodeHello) bool {
	if row.EnvoyVersion == "" && row.EnvoyBuild == "" && row.AgentVersion == hello.AgentVersion {
		return false
	}
	row.EnvoyVersion, row.EnvoyBuild, row.AgentVersion = "", "", hello.AgentVersion
	return true
}

// checkCollections says what is wrong with the collections that an application takes.
func checkCollections(object string, collections []string) error {
	if n := len(collections); n > model.MaxReleaseCollections {
		return model.Invalidf(object, "collections", "ask for fewer", "%d collections are more than %d", n, model.MaxReleaseCollections)
	}
	for _, name := range collections {
		if err := model.ValidateCollection(object, "collections", name); err != nil {
			return err
		}
	}
	return nil
}

// noFilters says why a node that runs no filters cannot be given a chain; empty when it can. It would serve a part of a release that was tested whole.
func noFilters(row model.Node, chain model.Chain) string {
	if row.Dialect != model.DialectApplication || len(chain.Filters) == 0 {
		return ""
	}
	names := make([]string, 0, len(chain.Filters))
	for _, f := range chain.Filters {
		names = append(names, f.Name)
	}
	return fmt.Sprintf("it is an application, which runs no filters, and the chain has %s", strings.Join(names, ", "))
}

// partly says which collections of a chain an application does not take; empty for none, and for every other sink.
func partly(row model.Node, chain model.Chain) string {
	if row.Dialect != model.DialectApplication {
		return ""
	}
	var others []string
	for i := range chain.Resources {
		if name := chain.Resources[i].Collection; !slices.Contains(row.Takes.Collections, name) && !slices.Contains(others, name) {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return "an application that does not take " + strings.Join(others, ", ")
}
