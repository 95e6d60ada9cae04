package store

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestFitting(t *testing.T) {
	all := []string{"a", "b", "c"}
	for _, c := range []struct {
		unfit map[string]bool
		want  []string
	}{
		{nil, all},
		{map[string]bool{"b": true, "c": false}, []string{"a", "c"}},
		{map[string]bool{"a": true, "b": true, "c": true}, all},
	} {
		if got := fitting(all, c.unfit); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.unfit, got)
		}
	}
}

// A member that refuses has a majority behind it, or nothing would be known of users there; one that says nothing has not.
func TestSilent(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{context.DeadlineExceeded, true},
		{status.Error(codes.Unavailable, "x"), true},
		{rpctypes.ErrTimeout, true},
		{rpctypes.ErrNoLeader, true},
		{rpctypes.ErrPermissionDenied, false},
		{rpctypes.ErrNoSpace, false},
		{errors.New("x"), false},
	} {
		if got := silent(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
