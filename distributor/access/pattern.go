package access

import (
	"errors"
	"path"
	"regexp"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// capture stands in the pattern of a certificate's name for the node's id.
const capture = "{node}"

// certificatePattern matches the name that a certificate proves. * is any part of one segment (of a URI's path; of a host's name, a label), and {node} is a
// whole segment, or the part of it between other characters, which is the id of the node.
type certificatePattern struct {
	expr     *regexp.Regexp
	captures bool
}

func parseCertificatePattern(text string) (certificatePattern, error) {
	p := certificatePattern{}
	scheme, rest, uri := strings.Cut(text, "://")
	part := `[^/]+`
	switch {
	case uri:
		host, _, _ := strings.Cut(rest, "/")
		if strings.ContainsAny(scheme, "*{}") || strings.ContainsAny(host, "*{}") || host == "" {
			return p, errors.New("* and {node} stand behind the host of a URI only, which for a SPIFFE id is the trust domain")
		}
	case strings.HasPrefix(text, prefixDNS) && len(text) > len(prefixDNS):
		part = `[^./]+`
		text = strings.ToLower(text)
	case strings.HasPrefix(text, prefixCN) && len(text) > len(prefixCN):
	default:
		return p, errors.New("write a URI such as spiffe://example.org/ci, cn:COMMON-NAME, or dns:HOST")
	}
	if strings.Count(text, capture) > 1 {
		return p, errors.New("{node} stands there twice")
	}
	var expr strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, capture):
			expr.WriteString("(" + part + ")")
			text, p.captures = text[len(capture):], true
		case text[0] == '*':
			expr.WriteString(part)
			text = text[1:]
		default:
			n := strings.IndexAny(text[1:], "*{") + 1
			if n == 0 {
				n = len(text)
			}
			expr.WriteString(regexp.QuoteMeta(text[:n]))
			text = text[n:]
		}
	}
	var err error
	p.expr, err = regexp.Compile(`^(?:` + expr.String() + `)$`)
	return p, err
}

// match says whether a name fits, and the node that it names where the pattern has {node}.
func (p certificatePattern) match(name string) (node string, ok bool) {
	m := p.expr.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	if p.captures {
		node = m[1]
	}
	return node, true
}

// allLayers is the pattern for every layer that is no emergency's. Those must be said: whoever wrote "*" did not think of who may open a door.
const allLayers = "*"

// checkLayerPattern says why a pattern of layers cannot be meant.
func checkLayerPattern(pattern string) error {
	if pattern == allLayers {
		return nil
	}
	for _, kind := range []string{"team/", "service/", "emergency/"} {
		if pattern == kind+"*" {
			return nil
		}
	}
	return model.ValidateLayer("", "", model.Layer(pattern))
}

// layerFits says whether a layer fits a pattern that checkLayerPattern accepts.
func layerFits(pattern string, layer model.Layer) bool {
	if pattern == allLayers {
		return layer != "" && layer.Disables() == ""
	}
	if kind, all := strings.CutSuffix(pattern, "*"); all {
		return strings.HasPrefix(string(layer), kind)
	}
	return string(layer) == pattern
}

// checkNodePattern says why a pattern of node ids cannot be meant. * is any part of an id, but for slashes.
func checkNodePattern(pattern string) error {
	if strings.Trim(pattern, "*") == "" {
		return errors.New("it would be any node")
	}
	_, err := path.Match(pattern, "")
	return err
}

func nodeFits(pattern, id string) bool {
	ok, _ := path.Match(pattern, id) // checked when the policy was read
	return ok
}

// Patterns of repositories: * is any part of one segment, and ** at the end one segment or more.
const restOfRepository = "**"

func checkRepositoryPattern(pattern string) error {
	head := strings.TrimSuffix(pattern, restOfRepository)
	if pattern == "" || strings.Contains(head, restOfRepository) || head != pattern && head != "" && !strings.HasSuffix(head, "/") {
		return errors.New("write a repository such as filters/authz, filters/*, or filters/**")
	}
	_, err := path.Match(head, "")
	return err
}

func repositoryFits(pattern, repository string) bool {
	if repository == "" {
		return false
	}
	head, rest := strings.CutSuffix(pattern, restOfRepository)
	if !rest {
		ok, _ := path.Match(pattern, repository) // checked when the policy was read
		return ok
	}
	segments, have := strings.Count(head, "/"), strings.Split(repository, "/")
	if len(have) <= segments {
		return false
	}
	begin := ""
	for _, s := range have[:segments] {
		begin += s + "/"
	}
	ok, _ := path.Match(head, begin)
	return ok
}
