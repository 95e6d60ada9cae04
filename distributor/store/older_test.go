package store

import (
	"errors"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A waft that knows version 1 alone passes over what it does not know: it would give filters back that an emergency took out, and take a cohort for all
// requests. It opens nothing that this waft has opened.
func TestAnOlderWaftDoesNotUndoEmergencies(t *testing.T) {
	client := embeddedClient(t)
	if _, err := open(t.Context(), client, 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), client, 1, nil); !errors.Is(err, model.ErrPrecondition) {
		t.Errorf("the older one opens it: %v", err)
	}
}
