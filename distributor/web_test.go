package distributor

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// zeros are so many bytes.
type zeros struct{ left int64 }

// Read is io.Reader's.
func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), z.left)
	if n == 0 {
		return 0, io.EOF
	}
	z.left -= n
	return int(n), nil
}

// An upload that is larger than any may be is refused by what it says of its size, and read no further where it does not say.
func TestUploadsAreBounded(t *testing.T) {
	var read int64
	var failed error
	handler := web{registry: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { read, failed = io.Copy(io.Discard, r.Body) })}.v2()
	for name, tc := range map[string]struct {
		length, body int64
		refused, cut bool
	}{
		"as large as may be":        {maxUploadBytes, maxUploadBytes, false, false},
		"larger":                    {maxUploadBytes + 1, maxUploadBytes + 1, true, false},
		"of no size, and as large":  {-1, maxUploadBytes, false, false},
		"of no size, and larger":    {-1, maxUploadBytes + 1, false, true},
		"of a size that is no size": {1 << 62, 1, true, false},
	} {
		read, failed = 0, nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/v2/a/blobs/uploads/x", &zeros{tc.body})
		r.ContentLength = tc.length
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if refused := w.Code == http.StatusRequestEntityTooLarge && strings.Contains(w.Body.String(), "SIZE_INVALID"); refused != tc.refused || tc.refused && read != 0 {
			t.Errorf("%s: %d %s, %d bytes were read", name, w.Code, w.Body, read)
		}
		_, cut := errors.AsType[*http.MaxBytesError](failed)
		if cut != tc.cut || read > maxUploadBytes {
			t.Errorf("%s: %d bytes were read, %v", name, read, failed)
		}
	}
}
