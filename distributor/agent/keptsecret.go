package agent

import (
	"errors"
	"fmt"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// keptSecret is what the distributor has sent of a secret that it keeps: a value, or why there is none.
type keptSecret struct{ value, trouble string }

// decodeSecrets reads the collection of kept secrets. An error has nothing of a value: it goes back to the source, and into logs.
func decodeSecrets(resources []*mcpv1.Resource) (map[model.SecretRef]keptSecret, error) {
	if len(resources) > model.MaxChainSecrets {
		return nil, fmt.Errorf("%d secrets are more than %d, which a chain may name", len(resources), model.MaxChainSecrets)
	}
	secrets := make(map[model.SecretRef]keptSecret, len(resources))
	for i, r := range resources {
		var message waftv1.SecretValue
		if body(r, &message) != nil {
			return nil, fmt.Errorf("secret %d of %d is no waft.v1.SecretValue", i+1, len(resources)) // what cannot be decoded may be shown by the error
		}
		ref := refOf(&message)
		if problem := ref.Problem(); problem != "" || ref.Layer == "" || ref.Version == 0 {
			return nil, fmt.Errorf("secret %d of %d has no name, layer and version as secrets have", i+1, len(resources))
		}
		one := keptSecret{value: message.GetValue(), trouble: message.GetTrouble()}
		if one.trouble == "" {
			if problem := model.SecretProblem([]byte(one.value)); problem != "" {
				return nil, fmt.Errorf("the secret %s %s", ref, problem)
			}
		} else {
			one.value = ""
		}
		secrets[ref] = one
	}
	return secrets, nil
}

func refOf(m *waftv1.SecretValue) model.SecretRef {
	return model.SecretRef{Name: m.GetName(), Layer: model.Layer(m.GetLayer()), Version: m.GetVersion(), ID: m.GetId()}
}

// keepValues is what came of secrets, with a value that the node has in the place of why the distributor cannot give that very one now: it never changes, and without it the node could
// not start again. held is what it has, packed.
func keepValues(held [][]byte, came []*mcpv1.Resource) []*mcpv1.Resource {
	resources, err := unpack(held)
	if err != nil {
		return came
	}
	values := map[model.SecretRef]*mcpv1.Resource{}
	for _, r := range resources {
		var m waftv1.SecretValue
		if body(r, &m) == nil && m.GetTrouble() == "" {
			values[refOf(&m)] = r
		}
	}
	out := make([]*mcpv1.Resource, len(came))
	for i, r := range came {
		out[i] = r
		var m waftv1.SecretValue
		if body(r, &m) != nil || m.GetTrouble() == "" {
			continue
		}
		if value := values[refOf(&m)]; value != nil {
			out[i] = value
		}
	}
	return out
}

// namesKept says whether the chain that the node was given names a kept secret: then it asks for them. A distributor that keeps none is not asked.
func (o offer) namesKept() bool {
	for _, f := range o.filters {
		uses, _ := model.Secrets(f.Config) // fill says what is wrong
		for _, use := range uses {
			if use.Ref.Kept() {
				return true
			}
		}
	}
	return false
}

// errAwaited means that a kept secret has not come yet.
var errAwaited = errors.New("the distributor has not sent it yet")

// keptSecret gives the value of a kept secret as it came.
func (i *inbox) keptSecret(ref model.SecretRef) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	one, there := i.offer.secrets[ref]
	switch {
	case !there:
		return "", errAwaited
	case one.trouble != "":
		return "", fmt.Errorf("the distributor cannot give it: %s", one.trouble)
	}
	return one.value, nil
}
