package gates

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// maxAnswer bounds the body of a webhook's answer.
const maxAnswer = 64 << 10

// question is the body of a webhook's request.
type question struct {
	Rollout string   `json:"rollout"`
	Release string   `json:"release"`
	Wave    int      `json:"wave"`
	Moved   []string `json:"moved"`
	Waiting []string `json:"waiting"`
	// Served is in whole seconds, rounded down: what is older may be of the release before.
	Served int64 `json:"served"`
}

// answer is the body of a webhook's answer.
type answer struct {
	Verdict model.GateVerdict `json:"verdict"`
	Detail  string            `json:"detail"`
}

// webhook asks a program.
func (r *Reader) webhook(ctx context.Context, g model.WebhookGate, about service.GateSubject) (model.GateVerdict, string) {
	body, err := json.Marshal(question{Rollout: about.Rollout, Release: about.Release.String(), Wave: about.Wave, Moved: about.Moved, Waiting: about.Waiting, Served: int64(about.Served / time.Second)})
	if err != nil {
		return model.VerdictInconclusive, err.Error()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, bytes.NewReader(body))
	if err != nil {
		return model.VerdictInconclusive, err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return model.VerdictInconclusive, fmt.Sprintf("it did not answer: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return model.VerdictInconclusive, fmt.Sprintf("it answered %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(text) > maxAnswer {
		return model.VerdictInconclusive, fmt.Sprintf("its answer is longer than %d bytes, or broke off", maxAnswer)
	}
	return readAnswer(text)
}

// readAnswer reads what a webhook has answered.
func readAnswer(text []byte) (model.GateVerdict, string) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return model.VerdictInconclusive, fmt.Sprintf("its answer is not the JSON that it should be: %v", err)
	}
	switch a.Verdict {
	case model.VerdictPass, model.VerdictFail, model.VerdictInconclusive:
		return a.Verdict, a.Detail
	}
	return model.VerdictInconclusive, fmt.Sprintf("its verdict is %q; it should be pass, fail or inconclusive", a.Verdict)
}
