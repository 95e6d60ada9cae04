package agent

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// Why a module is not on disk is said with what is, when it is another reason than before, and once more on another stream; and without the values of secrets.
func TestWhyModulesAreNotFetchedIsSaid(t *testing.T) {
	redact := func(text string) string { return strings.ReplaceAll(text, "hunter2", "<secret>") }
	r := newReporter(nil, slog.New(slog.DiscardHandler), redact, func() *waftv1.Hello { return nil })
	have := map[string]bool{"a": true}
	for i, step := range []struct {
		trouble, want map[string]string
		again         bool
	}{
		{nil, map[string]string{}, false},
		{map[string]string{"b": "no hunter2"}, map[string]string{"b": "no <secret>"}, false},
		{map[string]string{"b": "no hunter2"}, nil, false},
		{map[string]string{"b": "no hunter2"}, map[string]string{"b": "no <secret>"}, true},
		{map[string]string{"b": "gone"}, map[string]string{"b": "gone"}, false},
		{nil, map[string]string{}, false},
	} {
		r.setFetched(have, step.trouble)
		if step.again {
			said{r}.Again()
		}
		due := said{r}.Due()
		if step.want == nil {
			if len(due) != 0 {
				t.Errorf("step %d says %v, which is nothing new", i, due)
			}
			continue
		}
		if len(due) != 1 || !maps.Equal(due[0].GetFetched().GetFailed(), step.want) || len(due[0].GetFetched().GetDigests()) != 1 {
			t.Errorf("step %d says %v", i, due)
		}
	}
}
