package distributor

import (
	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/service"
)

// messages are the types of resources, as the service asks for them.
type messages struct{}

// Linked is service.Messages'.
func (messages) Linked() service.MessageSet { return messageSet{descriptors.Linked()} }

// Parse is service.Messages'.
func (messages) Parse(text []byte) (service.MessageSet, error) {
	set, err := descriptors.Parse(text)
	if err != nil {
		return nil, err
	}
	return messageSet{set}, nil
}

type messageSet struct{ *descriptors.Set }

// Defines is service.MessageSet's.
func (s messageSet) Defines() []service.DefinedMessage {
	var out []service.DefinedMessage
	for _, m := range s.Messages() {
		out = append(out, service.DefinedMessage(m))
	}
	return out
}
