package service

import (
	"errors"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// FuzzPageTokens takes whatever a client may send as the token of a page. Each token that a page gives is taken for what it was made of, and no other is taken.
func FuzzPageTokens(f *testing.F) {
	f.Add("", 0, int64(0))
	f.Add("zz", 1001, int64(36))
	f.Add("+1", -1, int64(1))
	f.Add("01", 1, int64(-1))
	f.Add("ZZ", 7, int64(1)<<62)
	f.Add(afterToken("team/pay\nflags"), 100, int64(1))
	f.Add("YQ\n", 100, int64(1))
	f.Add("YR", 100, int64(1))
	f.Fuzz(func(t *testing.T, token string, size int, n int64) {
		page := Page{Size: size, Token: token}
		refused := func(err error) {
			t.Helper()
			if told, ok := errors.AsType[*model.Error](err); !ok || !errors.Is(err, model.ErrInvalid) || told.Field == "" || told.Next == "" {
				t.Errorf("%+v: %v", page, err)
			}
		}
		if cursor, err := page.cursor(); err != nil {
			refused(err)
		} else if cursor < 0 || cursorToken(cursor) != token {
			t.Errorf("the token %q is taken for %d, whose token is %q", token, cursor, cursorToken(cursor))
		}
		limit, after, err := page.span()
		switch {
		case err != nil:
			refused(err)
		case limit < 1 || limit > MaxPageSize || size < 0 || afterToken(after) != token:
			t.Errorf("%+v is taken for %d after %q", page, limit, after)
		}
		if n >= 0 {
			if again, err := (Page{Token: cursorToken(n)}).cursor(); err != nil || again != n {
				t.Errorf("the token of %d is taken for %d (%v)", n, again, err)
			}
		}
		if again, err := (Page{Token: afterToken(token)}).after(); err != nil || again != token {
			t.Errorf("the token of %q is taken for %q (%v)", token, again, err)
		}
	})
}
