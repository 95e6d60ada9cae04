package distributor_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// A team gives values to the secrets of its own layer alone, whoever reads sees names, and nobody a value: not in an answer, not in an error, not in the log.
func TestAccessOfTeamsToSecrets(t *testing.T) { atEach(t, accessOfTeamsToSecrets) }

func accessOfTeamsToSecrets(t *testing.T, g *guarded) {
	paul, viewer, operator := g.visitor(t, "paul"), g.visitor(t, "viewer"), g.visitor(t, "operator")
	ctx := t.Context()
	const value = "correct-horse-battery"
	set := func(v *visitor, layer string) error {
		_, err := waftv1.NewSecretServiceClient(v.conn).SetSecret(ctx, &waftv1.SetSecretRequest{Name: "token", Layer: layer, Value: value, Reason: "a try"})
		return err
	}
	remove := func(v *visitor, layer string) error {
		_, err := waftv1.NewSecretServiceClient(v.conn).DeleteSecret(ctx, &waftv1.DeleteSecretRequest{Name: "token", Layer: layer})
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
		code codes.Code
	}{
		{"another team's layer", func() error { return set(paul, "team/other") }, codes.PermissionDenied},
		{"the default layer", func() error { return set(paul, "") }, codes.PermissionDenied},
		{"its own layer", func() error { return set(paul, "team/payments") }, codes.OK},
		{"a viewer", func() error { return set(viewer, "team/payments") }, codes.PermissionDenied},
		{"an operator", func() error { return set(operator, "team/payments") }, codes.PermissionDenied},
		{"a node", func() error { return set(g.visitor(t, nodeOne), "team/payments") }, codes.PermissionDenied},
		{"deletion by a viewer", func() error { return remove(viewer, "team/payments") }, codes.PermissionDenied},
		{"deletion of another's", func() error { return remove(paul, "team/other") }, codes.PermissionDenied},
	} {
		err := step.do()
		if status.Code(err) != step.code || err != nil && strings.Contains(err.Error(), value) {
			t.Errorf("%s: %v, want %v", step.what, err, step.code)
		}
	}
	for path, want := range map[string]string{"/v1/secrets": "team/payments", "/v1/secrets/token?layer=team/payments": "a try", "/v1/audit": "secret.set"} {
		code, text := viewer.ask(t, http.MethodGet, path, "", nil)
		if code != http.StatusOK || !strings.Contains(text, want) || strings.Contains(text, value) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for body, want := range map[string]int{
		`{"layer":"team/payments","value":"` + value + `"}`: http.StatusOK, `{"layer":"team/payments","value":"` + value + `\u0000"}`: http.StatusBadRequest,
		`{"layer":"team/other","value":"` + value + `"}`: http.StatusForbidden, `{"layer":"team/payments","value":""}`: http.StatusBadRequest,
	} {
		if code, text := paul.ask(t, http.MethodPost, "/v1/secrets/token:set", body, nil); code != want || strings.Contains(text, value) {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	if err := remove(paul, "team/payments"); err != nil {
		t.Error(err)
	}
	if log := g.log.String(); strings.Contains(log, value) || !strings.Contains(log, "secret.set secret/team/other/token") {
		t.Errorf("the log has the value, or not what was denied: %s", log)
	}
}
