package delivery

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

// A maker gives what Collections gives, whatever it was asked for before: other nodes, other generations, and chains that differ only in what the hash does not
// cover.
func TestMakerGivesTheSame(t *testing.T) {
	chain, err := merge.Render(twoLayers(t))
	if err != nil {
		t.Fatal(err)
	}
	referred := chain.Clone()
	referred.Filters[0].Module.Reference = "elsewhere:7071/filters/moved:1.0.0"
	released := chain
	released.Releases = map[model.Layer]model.ReleaseID{model.LayerGlobal: {Name: "renamed", Hash: chain.Hash}}
	split := chain
	split.Split = &model.ChainSplit{NodeSplit: model.NodeSplit{Layer: model.LayerGlobal}, Test: chain.Hash, Rest: chain.Hash}
	fewer := chain
	fewer.Filters = chain.Filters[:1]
	var m Maker
	for round := range 3 {
		for name, c := range map[string]model.Chain{"": chain, "another reference": referred, "another release": released, "split": split, "fewer": fewer, "none": {}, "empty": {Hash: chain.Hash}} {
			for generation := range int64(2) {
				for _, id := range []string{"edge-1", "edge-2"} {
					node := model.Node{ID: id, Generation: generation}
					want, got := Collections(node, c, []model.Module{module("a")}), m.Collections(node, c, []model.Module{module("a")})
					if !reflect.DeepEqual(got, want) {
						t.Fatalf("round %d, chain %q, node %s, generation %d: got %+v, want %+v", round, name, id, generation, got, want)
					}
				}
			}
		}
	}
}

// Nodes with one chain share its resources; what is remembered has a bound.
func TestMakerShares(t *testing.T) {
	chain, err := merge.Render(twoLayers(t))
	if err != nil {
		t.Fatal(err)
	}
	var m Maker
	first, second := m.Collections(model.Node{ID: "edge-1"}, chain, nil), m.Collections(model.Node{ID: "edge-2"}, chain, nil)
	if first[0].Resources[0].Filter != second[0].Resources[0].Filter || first[1].Resources[0].Chain != second[1].Resources[0].Chain {
		t.Error("two nodes with one chain have it twice")
	}
	if a, b := first[1].Resources[0].Name, second[1].Resources[0].Name; a != "edge-1" || b != "edge-2" {
		t.Errorf("their chains are named %s and %s", a, b)
	}
	for i := range 3 * maxMade {
		other := chain.Clone()
		other.Hash = fmt.Sprint(i)
		if got := m.Collections(model.Node{ID: "edge-1"}, other, nil)[1].Resources[0].Chain.Hash; got != other.Hash {
			t.Fatalf("chain %s was given for %s", got, other.Hash)
		}
	}
}
