package access

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
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
		Issuers  []documentIssuer  `yaml:"issuers"`
		Bindings []documentBinding `yaml:"bindings"`
	} `yaml:"spec"`
}

type documentBinding struct {
	Name         text              `yaml:"name"`
	Subjects     []documentSubject `yaml:"subjects"`
	Roles        []text            `yaml:"roles"`
	Layers       []text            `yaml:"layers"`
	Repositories []text            `yaml:"repositories"`
	Nodes        []text            `yaml:"nodes"`
	Labels       documentLabels    `yaml:"labels"`
}

type documentSubject struct {
	Certificate text `yaml:"certificate"`
	Issuer      text `yaml:"issuer"`
	User        text `yaml:"user"`
	Group       text `yaml:"group"`
}

type documentIssuer struct {
	Name        text `yaml:"name"`
	URL         text `yaml:"url"`
	Audience    text `yaml:"audience"`
	JWKS        text `yaml:"jwks"`
	UserClaim   text `yaml:"userClaim"`
	GroupsClaim text `yaml:"groupsClaim"`
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
	if len(doc.Spec.Issuers) > MaxIssuers {
		return nil, model.Invalidf("", "spec.issuers", "remove some", "%d issuers, over the limit of %d", len(doc.Spec.Issuers), MaxIssuers)
	}
	for i, d := range doc.Spec.Issuers {
		issuer, err := d.read(fmt.Sprintf("spec.issuers[%d]", i), p.issuers)
		if err != nil {
			return nil, err
		}
		p.issuers = append(p.issuers, issuer)
	}
	names := map[string]int{}
	for i, d := range doc.Spec.Bindings {
		b, err := d.read(fmt.Sprintf("spec.bindings[%d]", i), p.issuers)
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

// read checks an issuer; before are those that stand before it.
func (d documentIssuer) read(field string, before []Issuer) (Issuer, error) {
	i := Issuer{
		Name: d.Name.value, URL: d.URL.value, Audience: d.Audience.value, JWKS: d.JWKS.value,
		UserClaim: cmp.Or(d.UserClaim.value, DefaultUserClaim), GroupsClaim: cmp.Or(d.GroupsClaim.value, DefaultGroupsClaim),
	}
	if err := checkName(d.Name, field+".name"); err != nil {
		return i, err
	}
	if i.URL == "" {
		return i, at(d.Name, field+".url", "write the issuer as its tokens have it (iss)", "is missing")
	}
	if i.Audience == "" {
		return i, at(d.Name, field+".audience", "write what tokens for this distributor are for (aud)", "is missing: a token that was meant for somebody else must not count")
	}
	for _, u := range []struct {
		text  text
		field string
	}{{d.URL, "url"}, {d.JWKS, "jwks"}} {
		if u.text.value != "" && !fetchable(u.text.value) {
			return i, at(u.text, field+"."+u.field, "write https://HOST/PATH; http is for loopback only", "%.255q is no URL that keys may be fetched from", u.text.value)
		}
	}
	for _, other := range before {
		switch {
		case other.Name == i.Name:
			return i, at(d.Name, field+".name", "give each issuer a name of its own", "%s stands there twice", i.Name)
		case other.URL == i.URL:
			return i, at(d.URL, field+".url", "leave one of them out", "the issuer %s has it already", other.Name)
		}
	}
	return i, nil
}

// fetchable says whether an issuer's keys may come from there: whoever can change them on their way is the issuer.
func fetchable(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && model.OnThisMachine(u.Hostname())
}

// read checks a subject.
func (d documentSubject) read(field string, issuers []Issuer) (subject, error) {
	s := subject{issuer: d.Issuer.value, user: d.User.value, group: d.Group.value}
	if s.issuer == "" {
		var err error
		if d.User.line > 0 || d.Group.line > 0 {
			return s, at(text{line: max(d.User.line, d.Group.line)}, field+".issuer", "say which issuer knows the user or the group", "is missing")
		}
		if s.certificate, err = parseCertificatePattern(d.Certificate.value); err != nil {
			return s, at(d.Certificate, field+".certificate", "", "%.255q: %v", d.Certificate.value, err)
		}
		return s, nil
	}
	switch {
	case !slices.ContainsFunc(issuers, func(i Issuer) bool { return i.Name == s.issuer }):
		return s, at(d.Issuer, field+".issuer", "name one of spec.issuers", "there is no issuer %.100q", s.issuer)
	case d.Certificate.line > 0:
		return s, at(d.Certificate, field, "make two of it", "a subject is of a certificate or of an issuer, not of both")
	case (s.user == "") == (s.group == ""):
		return s, at(d.Issuer, field, "give one of them", "a subject of an issuer is a user or a group")
	}
	return s, nil
}

// read checks a binding, and refuses one that would give nothing: its author meant something else.
func (d documentBinding) read(field string, issuers []Issuer) (binding, error) {
	b := binding{name: d.Name.value, layers: values(d.Layers), repositories: values(d.Repositories), nodes: values(d.Nodes)}
	if err := checkName(d.Name, field+".name"); err != nil {
		return b, err
	}
	for list, n := range map[string]int{"subjects": len(d.Subjects), "roles": len(d.Roles), "layers": len(d.Layers), "repositories": len(d.Repositories), "nodes": len(d.Nodes)} {
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
		subject, err := s.read(fmt.Sprintf("%s.subjects[%d]", field, i), issuers)
		if err != nil {
			return b, err
		}
		b.subjects = append(b.subjects, subject)
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
	for i, n := range d.Nodes {
		if err := checkNodePattern(n.value); err != nil {
			return b, at(n, fmt.Sprintf("%s.nodes[%d]", field, i), "write an id, with * for parts of it", "%.253q: %v", n.value, err)
		}
	}
	var err error
	if b.labels, err = d.Labels.read(field+".labels", d.Name); err != nil {
		return b, err
	}
	return b, d.consistent(field, b)
}

// consistent says what in a binding does not go together.
func (d documentBinding) consistent(field string, b binding) error {
	has := func(roles ...Role) bool { return len(b.among(roles)) > 0 }
	captures := func(s subject) bool { return s.certificate.captures }
	switch {
	case len(b.roles) == 0:
		return at(d.Name, field+".roles", "write viewer, publisher, operator, approver or node", "the binding gives no role")
	case len(b.subjects) == 0:
		return at(d.Name, field+".subjects", "write - certificate: NAME, or - {issuer: NAME, user: NAME}", "the binding gives its roles to nobody")
	case has(Node) && len(b.roles) > 1:
		return at(d.Roles[0], field+".roles", "give people and programs a binding of their own", "a node has the role node and no other by the same binding")
	case has(Node) && (len(b.layers) > 0 || len(b.repositories) > 0):
		return at(d.Name, field, "leave out layers and repositories", "a node writes to no layer and to no repository")
	case !has(Node) && len(b.nodes) > 0:
		return at(d.Nodes[0], field+".nodes", "leave them out", "only the role node is about nodes")
	case !has(Node) && len(b.labels) > 0:
		return at(d.Name, field+".labels", "leave them out", "only the role node is about labels")
	case has(Node) && slices.ContainsFunc(b.subjects, func(s subject) bool { return s.issuer != "" }):
		return at(d.Name, field+".subjects", "name certificates", "no token makes anybody a node")
	case has(Node) && len(b.nodes) == 0 && slices.ContainsFunc(b.subjects, func(s subject) bool { return !s.certificate.captures }):
		return at(d.Name, field+".subjects", "write {node} where its id stands, such as spiffe://example.org/node/{node}, or name the ids in nodes", "the name of a node's certificate must say which node it is")
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
