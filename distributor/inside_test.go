package distributor

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
)

// Connections inside the process must not lose requests, however busy the machine is: a server sets and takes back
// deadlines on each connection all the time, and one that strikes late cuts the next request off.
func TestInsideConnections(t *testing.T) {
	transport := serveInside(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the handler got %d bytes: %v", len(got), err)
		}
		_, _ = w.Write(got) // the client says what is missing
	}))
	client := &http.Client{Transport: transport}
	body := bytes.Repeat([]byte("x"), 20_000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 150 {
				resp, err := client.Post("http://inside/", "application/octet-stream", bytes.NewReader(body))
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close() // only read
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d of %d bytes came back: %v", len(got), len(body), err)
					return
				}
			}
		})
	}
	wg.Wait()
}
