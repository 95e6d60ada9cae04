package demo

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/waft-project/waft/demo/fleet"
)

// visitors are the clients of the demo. Release after release they must get the same.
func visitors(s *signer) ([]fleet.Visitor, error) {
	admin, err := s.token("ada", "admin")
	if err != nil {
		return nil, err
	}
	user, err := s.token("bob", "user")
	if err != nil {
		return nil, err
	}
	return []fleet.Visitor{
		{Name: "an admin", Path: "/admin", Token: admin, Status: http.StatusOK, Check: passed("/admin")},
		{Name: "a user", Path: "/admin", Token: user, Status: http.StatusForbidden},
		{Name: "a user", Path: "/", Token: user, Status: http.StatusOK, Check: passed("/")},
		{Name: "nobody", Path: "/admin", Status: http.StatusUnauthorized},
	}, nil
}

// passed checks an answer that came from the upstream: the filter headers has changed the request and the response.
func passed(path string) func(fleet.Answer) error {
	return func(a fleet.Answer) error {
		if got := a.Header.Get("X-Powered-By"); got != "" {
			return fmt.Errorf("the response still carries x-powered-by: %s", got)
		}
		if a.Header.Get(releaseHeader) == "" {
			return fmt.Errorf("the response lacks %s", releaseHeader)
		}
		var upstream echoed
		if err := json.Unmarshal(a.Body, &upstream); err != nil {
			return fmt.Errorf("the upstream's answer was changed: %w", err)
		}
		if got := upstream.Headers["X-Demo-Path"]; len(got) != 1 || got[0] != path {
			return fmt.Errorf("the upstream saw x-demo-path %q", got)
		}
		return nil
	}
}
