package access

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The table in docs/access.md of which role may do what is that by which it is decided.
func TestDocumentedRoles(t *testing.T) {
	where := map[place]string{anywhere: "everywhere", inLayer: "`layers`", inRepository: "`repositories`", asNode: "its own id"}
	var want strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&want, "| %s |\n", strings.Join(cells, " | ")) }
	head, line := []string{"to"}, []string{"---"}
	for _, r := range Roles() {
		head, line = append(head, "`"+string(r)+"`"), append(line, "---")
	}
	row(append(head, "where")...)
	row(append(line, "---")...)
	for _, a := range slices.Sorted(maps.Keys(needs)) {
		n := needs[a]
		cells := []string{string(a)}
		for _, r := range Roles() {
			may := ""
			if n.roles == nil || slices.Contains(n.roles, r) {
				may = "yes"
			}
			cells = append(cells, may)
		}
		place := where[n.place]
		if n.roles == nil {
			place = "everywhere, and who has no role as well"
		}
		row(append(cells, place)...)
	}
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), want.String()) {
		t.Errorf("docs/access.md lacks this table, or has another:\n%s", want.String())
	}
}
