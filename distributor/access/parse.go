package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/distributor/model"
)

// What a policy's document says that it is.
const (
	APIVersion = "waft.dev/v1"
	Kind       = "AccessPolicy"
)

// document is the form of a policy's file.
type document struct {
	APIVersion text `yaml:"apiVersion"`
	Kind       text `yaml:"kind"`
	Metadata   struct {
		Name text `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Contact  text              `yaml:"contact"`
		Bindings []documentBinding `yaml:"bindings"`
	} `yaml:"spec"`
}

type documentBinding struct {
	Name         text              `yaml:"name"`
	Subjects     []documentSubject `yaml:"subjects"`
	Roles        []text            `yaml:"roles"`
	Layers       []text            `yaml:"layers"`
	Repositories []text            `yaml:"repositories"`
}

type documentSubject struct {
	Certificate text `yaml:"certificate"`
}

// text is a string, and the line it stands on; 0 where it is left out.
type text struct {
	value string
	line  int
}

// UnmarshalYAML takes strings only: a policy in which 1e3 is a name says something else than its author meant.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return fmt.Errorf("line %d: want a string, put it in quotes", n.Line)
	}
	t.value, t.line = n.Value, n.Line
	return nil
}

func values(list []text) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.value)
	}
	return out
}

// goTypes are what the library says of Go where it should speak of the document.
var goTypes = regexp.MustCompile(` in type access\.\w+| into access\.\w+| into \[\]access\.\w+| in type struct \{.*\}`)

// Parse reads a policy: YAML (or JSON), one document, strictly. Errors are *model.Error of kind ErrInvalid, and name the field and the line.
func Parse(content []byte) (*Policy, error) {
	const seeDocs = "see docs/access.md for the form"
	if len(content) > MaxPolicyBytes {
		return nil, model.Invalidf("", "", "split it", "%d bytes, over the limit of %d", len(content), MaxPolicyBytes)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	var doc document
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, model.Invalidf("", "", seeDocs, "the file is empty")
		}
		told := strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")
		return nil, model.Invalidf("", "", seeDocs, "%s", goTypes.ReplaceAllString(told, ""))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, model.Invalidf("", "", "keep one", "there is something behind the first document")
	}
	if doc.APIVersion.value != APIVersion || doc.Kind.value != Kind {
		return nil, model.Invalidf("", "", seeDocs, "it is apiVersion %q, kind %q; want %s, %s", doc.APIVersion.value, doc.Kind.value, APIVersion, Kind)
	}
	if err := checkName(doc.Metadata.Name, "metadata.name"); err != nil {
		return nil, err
	}
	if len(doc.Spec.Bindings) == 0 || len(doc.Spec.Bindings) > MaxBindings {
		return nil, model.Invalidf("", "spec.bindings", "write 1 or more, or nobody may do anything", "%d bindings; want 1 to %d", len(doc.Spec.Bindings), MaxBindings)
	}
	p := &Policy{name: doc.Metadata.Name.value, contact: doc.Spec.Contact.value}
	names := map[string]int{}
	for i, d := range doc.Spec.Bindings {
		b, err := d.read(fmt.Sprintf("spec.bindings[%d]", i))
		if err != nil {
			return nil, err
		}
		if line, twice := names[b.name]; twice {
			return nil, at(d.Name, fmt.Sprintf("spec.bindings[%d].name", i), "give each binding a name of its own", "%s stands on line %d already", b.name, line)
		}
		names[b.name] = d.Name.line
		p.bindings = append(p.bindings, b)
	}
	return p, nil
}

// at is an error about a text.
func at(t text, field, next, format string, args ...any) error {
	line := ""
	if t.line > 0 {
		line = fmt.Sprintf("line %d: ", t.line)
	}
	return model.Invalidf("", field, next, "%s%s", line, fmt.Sprintf(format, args...))
}

func checkName(t text, field string) error {
	if err := model.ValidateName("", field, t.value); err != nil {
		return at(t, field, "use letters, digits and -", "%.100q is not a name", t.value)
	}
	return nil
}

// read checks a binding, and refuses one that would give nothing: its author meant something else.
func (d documentBinding) read(field string) (binding, error) {
	b := binding{name: d.Name.value, layers: values(d.Layers), repositories: values(d.Repositories)}
	if err := checkName(d.Name, field+".name"); err != nil {
		return b, err
	}
	for list, n := range map[string]int{"subjects": len(d.Subjects), "roles": len(d.Roles), "layers": len(d.Layers), "repositories": len(d.Repositories)} {
		if n > MaxEntries {
			return b, at(d.Name, field+"."+list, "split the binding", "%d entries, over the limit of %d", n, MaxEntries)
		}
	}
	for i, r := range d.Roles {
		if !slices.Contains(Roles(), Role(r.value)) {
			return b, at(r, fmt.Sprintf("%s.roles[%d]", field, i), "write viewer, publisher, operator, approver or node", "%.100q is not a role", r.value)
		}
		b.roles = append(b.roles, Role(r.value))
	}
	for i, s := range d.Subjects {
		pattern, err := parseCertificatePattern(s.Certificate.value)
		if err != nil {
			return b, at(s.Certificate, fmt.Sprintf("%s.subjects[%d].certificate", field, i), "", "%.255q: %v", s.Certificate.value, err)
		}
		b.subjects = append(b.subjects, pattern)
	}
	for i, l := range d.Layers {
		if err := checkLayerPattern(l.value); err != nil {
			return b, at(l, fmt.Sprintf("%s.layers[%d]", field, i), `write global, team/NAME, service/NAME or emergency/FILTER, each with * for the name, or "*" for all but emergencies`,
				"%.100q is not a layer", l.value)
		}
	}
	for i, r := range d.Repositories {
		if err := checkRepositoryPattern(r.value); err != nil {
			return b, at(r, fmt.Sprintf("%s.repositories[%d]", field, i), "", "%.255q: %v", r.value, err)
		}
	}
	return b, d.consistent(field, b)
}

// consistent says what in a binding does not go together.
func (d documentBinding) consistent(field string, b binding) error {
	has := func(roles ...Role) bool { return len(b.among(roles)) > 0 }
	captures := func(p certificatePattern) bool { return p.captures }
	switch {
	case len(b.roles) == 0:
		return at(d.Name, field+".roles", "write viewer, publisher, operator, approver or node", "the binding gives no role")
	case len(b.subjects) == 0:
		return at(d.Name, field+".subjects", "write - certificate: NAME", "the binding gives its roles to nobody")
	case has(Node) && len(b.roles) > 1:
		return at(d.Roles[0], field+".roles", "give people and programs a binding of their own", "a node has the role node and no other by the same binding")
	case has(Node) && (len(b.layers) > 0 || len(b.repositories) > 0):
		return at(d.Name, field, "leave out layers and repositories", "a node writes to no layer and to no repository")
	case has(Node) && slices.ContainsFunc(b.subjects, func(p certificatePattern) bool { return !p.captures }):
		return at(d.Name, field+".subjects", "write {node} where its id stands, such as spiffe://example.org/node/{node}", "the name of a node's certificate must say which node it is")
	case !has(Node) && slices.ContainsFunc(b.subjects, captures):
		return at(d.Name, field+".subjects", "write * instead", "{node} is for the role node")
	case has(Operator, Approver) && len(b.layers) == 0:
		return at(d.Name, field+".layers", `name them, or write "*"`, "the binding names no layers, so that an operator or an approver might do nothing")
	case has(Publisher) && len(b.layers) == 0 && len(b.repositories) == 0:
		return at(d.Name, field, "name those that may be written", "the binding names neither layers nor repositories, so that a publisher might do nothing")
	case !has(Publisher, Operator, Approver) && len(b.layers) > 0:
		return at(d.Layers[0], field+".layers", "leave them out", "a viewer sees all layers")
	case !has(Publisher) && len(b.repositories) > 0:
		return at(d.Repositories[0], field+".repositories", "leave them out, or give the role publisher", "only a publisher writes to repositories")
	}
	return nil
}
