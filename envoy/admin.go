package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of the admin client.
const (
	// adminTimeout bounds one question. Envoy answers admin on its main thread, which loading modules blocks for seconds.
	adminTimeout = 30 * time.Second
	// adminBodyLimit bounds one answer; /stats of a large Envoy has some megabytes.
	adminBodyLimit = 64 << 20
)

// ErrNotReady means that Envoy answers but is not LIVE.
var ErrNotReady = errors.New("envoy is not ready")

// Admin asks Envoy's admin interface. It may be used concurrently.
type Admin struct {
	address string
	client  *http.Client
}

// NewAdmin makes a client of the admin interface at host:port.
func NewAdmin(address string) *Admin {
	// A transport of its own: connections must not outlive the Envoy that they lead to, nor go through a proxy.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: adminTimeout}).DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: adminTimeout}
	return &Admin{address: address, client: &http.Client{Transport: transport, Timeout: adminTimeout}}
}

// Address is host:port.
func (a *Admin) Address() string { return a.address }

// Close ends idle connections.
func (a *Admin) Close() { a.client.CloseIdleConnections() }

// Ready is nil when Envoy is LIVE, and an error that wraps ErrNotReady when it answers something else.
func (a *Admin) Ready(ctx context.Context) error {
	body, status, err := a.do(ctx, http.MethodGet, "/ready")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%w: %s", ErrNotReady, strings.TrimSpace(string(body)))
	}
	return nil
}

// ServerInfo is a part of envoy.admin.v3.ServerInfo.
type ServerInfo struct {
	// Version is COMMIT/NUMBER/STATE/TYPE/TLS, as Version.Build.
	Version string
	// State: LIVE, DRAINING, PRE_INITIALIZING or INITIALIZING.
	State string
	// UptimeCurrentEpoch is since the process started, by the clock that people set: less than nothing where that was set back past the start.
	UptimeCurrentEpoch time.Duration
	// UptimeAllEpochs is since the first of the processes that took over from each other by hot restarts, and RestartEpoch counts those.
	UptimeAllEpochs time.Duration
	RestartEpoch    int
	NodeID          string
	NodeCluster     string
}

// StateLive is ServerInfo.State of an Envoy that serves.
const StateLive = "LIVE"

// ServerInfo reads /server_info.
func (a *Admin) ServerInfo(ctx context.Context) (ServerInfo, error) {
	body, err := a.get(ctx, "/server_info")
	if err != nil {
		return ServerInfo{}, err
	}
	info, err := parseServerInfo(body)
	if err != nil {
		return ServerInfo{}, fmt.Errorf("read /server_info of Envoy at %s: %w", a.address, err)
	}
	return info, nil
}

// parseServerInfo reads the answer of /server_info.
func parseServerInfo(body []byte) (ServerInfo, error) {
	var answer struct {
		Version            string `json:"version"`
		State              string `json:"state"`
		UptimeCurrentEpoch string `json:"uptime_current_epoch"`
		UptimeAllEpochs    string `json:"uptime_all_epochs"`
		Options            struct {
			RestartEpoch int `json:"restart_epoch"`
		} `json:"command_line_options"`
		Node struct {
			ID      string `json:"id"`
			Cluster string `json:"cluster"`
		} `json:"node"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return ServerInfo{}, err
	}
	uptime, err := parseUptime("uptime_current_epoch", answer.UptimeCurrentEpoch)
	if err != nil {
		return ServerInfo{}, err
	}
	all, err := parseUptime("uptime_all_epochs", answer.UptimeAllEpochs)
	if err != nil {
		return ServerInfo{}, err
	}
	return ServerInfo{
		Version: answer.Version, State: answer.State, UptimeCurrentEpoch: uptime, UptimeAllEpochs: all, RestartEpoch: answer.Options.RestartEpoch,
		NodeID: answer.Node.ID, NodeCluster: answer.Node.Cluster,
	}, nil
}

// parseUptime reads a duration as protobuf's JSON writes it. A negative one is no error: Envoy is up all the same.
func parseUptime(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// Stats are statistics by name. Nil maps mean that there were none.
type Stats struct {
	// Values are counters and gauges. One beyond the range of int64 is held at its end.
	Values map[string]int64
	// Texts are text readouts, such as extension_config_discovery.http_filter.waft.version_text.
	Texts map[string]string
	// Histograms hold what was recorded since the process started. One whose buckets do not rise says nothing, and is left out.
	Histograms map[string]Histogram
}

// Histogram is one histogram, summarised. Buckets are cumulative, in Envoy's own unit of that histogram (milliseconds for
// times).
type Histogram struct {
	// Count is how many values were recorded.
	Count int64
	// Buckets by upper bound, rising.
	Buckets []Bucket
}

// Bucket counts the values at or below a bound.
type Bucket struct {
	UpperBound float64
	Cumulative int64
}

// Stats reads the counters, gauges and text readouts whose names match the regular expression (RE2, unanchored); an empty one matches all.
func (a *Admin) Stats(ctx context.Context, filter string) (Stats, error) {
	query := url.Values{"format": {"json"}, "type": {"All"}, "histogram_buckets": {"cumulative"}}
	if filter != "" {
		query.Set("filter", filter)
	}
	body, err := a.get(ctx, "/stats?"+query.Encode())
	if err != nil {
		return Stats{}, err
	}
	stats, err := parseStats(body)
	if err != nil {
		return Stats{}, fmt.Errorf("read /stats of Envoy at %s: %w", a.address, err)
	}
	return stats, nil
}

// parseStats reads the answer of /stats?format=json&histogram_buckets=cumulative.
func parseStats(body []byte) (Stats, error) {
	var answer struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
			// Histograms stand in one entry without a name.
			Histograms []struct {
				Name    string `json:"name"`
				Buckets []struct {
					UpperBound float64 `json:"upper_bound"`
					Cumulative int64   `json:"cumulative"`
				} `json:"buckets"`
			} `json:"histograms"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Stats{}, err
	}
	stats := Stats{Values: map[string]int64{}, Texts: map[string]string{}, Histograms: map[string]Histogram{}}
	for _, s := range answer.Stats {
		for _, h := range s.Histograms {
			var histogram Histogram
			rising := true
			for i, b := range h.Buckets {
				rising = rising && b.Cumulative >= histogram.Count && (i == 0 || b.UpperBound >= h.Buckets[i-1].UpperBound)
				histogram.Buckets = append(histogram.Buckets, Bucket{UpperBound: b.UpperBound, Cumulative: b.Cumulative})
				histogram.Count = b.Cumulative
			}
			if rising {
				stats.Histograms[h.Name] = histogram
			}
		}
		if len(s.Value) == 0 {
			continue
		}
		if s.Value[0] == '"' {
			var text string
			if err := json.Unmarshal(s.Value, &text); err != nil {
				return Stats{}, fmt.Errorf("value of %s: %w", s.Name, err)
			}
			stats.Texts[s.Name] = text
			continue
		}
		value, err := strconv.ParseInt(string(s.Value), 10, 64) // what is out of range is at the end that it is beyond
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return Stats{}, fmt.Errorf("value of %s: %w", s.Name, err)
		}
		stats.Values[s.Name] = value
	}
	return stats, nil
}

// Listeners returns the addresses (host:port) of the listeners, by name; with port 0 in the bootstrap, the port that the
// system chose.
func (a *Admin) Listeners(ctx context.Context) (map[string]string, error) {
	body, err := a.get(ctx, "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	listeners, err := parseListeners(body)
	if err != nil {
		return nil, fmt.Errorf("read /listeners of Envoy at %s: %w", a.address, err)
	}
	return listeners, nil
}

// parseListeners reads the answer of /listeners?format=json. A listener on a pipe has no such address, and is left out, as is whatever else cannot be dialled.
func parseListeners(body []byte) (map[string]string, error) {
	var answer struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket *struct {
					Address string `json:"address"`
					Port    uint16 `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	listeners := make(map[string]string, len(answer.Statuses))
	for _, s := range answer.Statuses {
		at := s.Address.Socket
		if at == nil || at.Port == 0 {
			continue
		}
		address := net.JoinHostPort(at.Address, strconv.Itoa(int(at.Port)))
		if _, _, err := net.SplitHostPort(address); err == nil {
			listeners[s.Name] = address
		}
	}
	return listeners, nil
}

// Drain has the listeners close gracefully: connections are told to go away, and go on until they have.
func (a *Admin) Drain(ctx context.Context) error { return a.post(ctx, "/drain_listeners?graceful") }

// Quit asks Envoy to end cleanly.
func (a *Admin) Quit(ctx context.Context) error { return a.post(ctx, "/quitquitquit") }

func (a *Admin) get(ctx context.Context, path string) ([]byte, error) {
	return a.ok(ctx, http.MethodGet, path)
}

func (a *Admin) post(ctx context.Context, path string) error {
	_, err := a.ok(ctx, http.MethodPost, path)
	return err
}

func (a *Admin) ok(ctx context.Context, method, path string) ([]byte, error) {
	body, status, err := a.do(ctx, method, path)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s %s of Envoy at %s: status %d: %s", method, path, a.address, status, firstLine(string(body)))
	}
	return body, nil
}

func (a *Admin) do(ctx context.Context, method, path string) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+a.address+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("ask Envoy at %s: %w", a.address, err)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("ask Envoy at %s: %w", a.address, err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end below, or of no more interest
	body, err := io.ReadAll(io.LimitReader(response.Body, adminBodyLimit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s of Envoy at %s: %w", path, a.address, err)
	}
	if len(body) > adminBodyLimit {
		return nil, 0, fmt.Errorf("read %s of Envoy at %s: the answer is larger than %d bytes", path, a.address, adminBodyLimit)
	}
	return body, response.StatusCode, nil
}
