package main

import (
	"fmt"
	"net/http"

	"github.com/corazawaf/coraza/v3/types"

	"github.com/waft-project/waft/sdk"
)

// decide acts on what a phase of the rules came to. It is true where the stream is answered: by a rule's word, or because the
// engine failed and nothing that was not inspected may pass.
func (i *inspection) decide(reply func(sdk.Reply) sdk.Action, verdict *types.Interruption, err error) (sdk.Action, bool) {
	switch {
	case err != nil:
		i.filter.failed.Inc()
		i.filter.log.Errorf("inspection failed: %v; tx %q", err, i.tx.ID())
		if i.policy.Mode == modeDetect {
			return sdk.Continue, false
		}
		return reply(refusal(http.StatusInternalServerError, "waf_failed")), true
	case verdict != nil:
		i.filter.blocked.Inc()
		return reply(answer(verdict)), true
	}
	return sdk.Continue, false
}

// answer is the reply that a rule asks for. Envoy knows no dropping without an answer, so that it is a refusal as well.
func answer(verdict *types.Interruption) sdk.Reply {
	details := fmt.Sprintf("waf_rule_%d", verdict.RuleID)
	if verdict.Action == "redirect" && verdict.Data != "" {
		r := refusal(verdict.Status, details)
		if r.Status < http.StatusMultipleChoices || r.Status >= http.StatusBadRequest {
			r.Status = http.StatusFound
		}
		r.Headers = append(r.Headers, sdk.Header{Name: "location", Value: verdict.Data})
		return r
	}
	if verdict.Status < http.StatusBadRequest {
		return refusal(http.StatusForbidden, details)
	}
	return refusal(verdict.Status, details)
}

func refusal(status int, details string) sdk.Reply {
	return sdk.Reply{
		Status:  status,
		Headers: []sdk.Header{{Name: "cache-control", Value: "no-store"}},
		Body:    []byte("request refused\n"),
		Details: details,
	}
}

// wouldInterrupt says whether a transaction would have been interrupted, had the rules had a say.
func wouldInterrupt(tx types.Transaction) bool {
	watched, ok := tx.(interface{ IsDetectionOnlyInterrupted() bool })
	return ok && watched.IsDetectionOnlyInterrupted()
}
