package access

import (
	"fmt"
	"maps"
	"os"
	"regexp"
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
			may := "no"
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

// yamlBlock is one of a page.
var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The parts of policies in docs/access.md can be used: bindings as they stand in a policy, and a whole spec.
func TestDocumentedPolicies(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("docs/access.md has no YAML")
	}
	for _, block := range blocks {
		policy := "apiVersion: waft.dev/v1\nkind: AccessPolicy\nmetadata: {name: documented}\n"
		if !strings.HasPrefix(block[1], "spec:") {
			policy += "spec:\n  bindings:\n"
		}
		if _, err := Parse([]byte(policy + block[1])); err != nil {
			t.Errorf("%v:\n%s", err, block[1])
		}
	}
}
