package distributor

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// bodies bounds how long a client may take to send the next part of a request's body. The deadline stays where the handler does not read to the end: the
// server reads on then, before it answers.
func (p *patience) bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			b := &patientBody{ReadCloser: r.Body, conn: http.NewResponseController(w), limit: p.limit}
			b.wait()
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

type patientBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	limit time.Duration
}

// wait gives the client time for the next part. Whatever cannot have a deadline has none.
func (b *patientBody) wait() { _ = b.conn.SetReadDeadline(time.Now().Add(b.limit)) }

// Read is io.Reader's.
func (b *patientBody) Read(to []byte) (int, error) {
	b.wait()
	n, err := b.ReadCloser.Read(to)
	if errors.Is(err, io.EOF) {
		_ = b.conn.SetReadDeadline(time.Time{}) // from here on the server reads to see whether the client has gone
	}
	return n, err
}
