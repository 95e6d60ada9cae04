package distributor

import (
	"context"
	"net/http"
)

// door stands before whoever finds out who asks, as before does for gRPC.
func (t *throttle) door(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{at: addressed(r.RemoteAddr)}
		if id, err := certified(r.TLS); err == nil && id.Known() {
			v.at, v.certified = id.Name, true
		}
		if err := t.spent(portHTTP, v); err != nil {
			refuse(w, r, err)
			return
		}
		defer t.leave(v)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

// counted stands behind it: the request is counted for whoever makes it.
func (t *throttle) counted(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := t.request(portHTTP, caller(r.Context())); err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
