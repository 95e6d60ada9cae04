package gates

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Reader asks. Use New. It may be used concurrently.
type Reader struct {
	hosts            []string
	client           *http.Client
	prometheusClient *http.Client
}

var _ service.Gates = (*Reader)(nil)

// New makes a Reader that asks these hosts and nobody else: HOST for the usual ports of http and https, or HOST:PORT; with a path behind it, only
// what is at or below that path there. No hosts are an error: give the service no Gates then.
func New(hosts []string) (*Reader, error) {
	if len(hosts) == 0 {
		return nil, errors.New("no hosts that gates may ask")
	}
	for _, host := range hosts {
		// Nothing more than a host and a path: a scheme or a query would promise what is not checked.
		u, err := url.Parse("//" + host)
		if err != nil || u.Host+u.Path != host || u.Hostname() == "" || u.User != nil || u.Path != "" && !plain(u) {
			return nil, fmt.Errorf("%q is no host that gates may ask: write HOST, HOST:PORT or HOST/PATH", host)
		}
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Reader{
		hosts: slices.Clone(hosts), client: &http.Client{CheckRedirect: stay},
		prometheusClient: &http.Client{CheckRedirect: stay, Transport: bounded{http.DefaultTransport, maxPrometheusAnswer}},
	}, nil
}

// Check says why a gate cannot be asked.
func (r *Reader) Check(gate model.GateSpec) error {
	target := ""
	switch {
	case gate.Prometheus != nil:
		target = gate.Prometheus.Server
	case gate.Webhook != nil:
		target = gate.Webhook.URL
	default:
		return errors.New("it is not read elsewhere")
	}
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(r.hosts, func(host string) bool { return mayAsk(u, host) }) {
		return fmt.Errorf("%s is none of the hosts that gates may ask (%s)", u.Host+u.Path, strings.Join(r.hosts, ", "))
	}
	return nil
}

// mayAsk says whether a URL is of a host as New takes it, and at or below its path.
func mayAsk(u *url.URL, allowed string) bool {
	host, prefix, _ := strings.Cut(allowed, "/")
	if !sameHost(u, host) {
		return false
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return true
	}
	return plain(u) && (u.Path == "/"+prefix || strings.HasPrefix(u.Path, "/"+prefix+"/"))
}

// plain says whether servers agree on what the path of a URL is: it is not encoded, and has no dots or double slashes to be resolved.
func plain(u *url.URL) bool {
	return u.RawPath == "" && !strings.ContainsAny(u.Path, "\\;%") && path.Clean(u.Path) == strings.TrimSuffix(u.Path, "/")
}

// sameHost says whether a URL is one of a host as New takes it.
func sameHost(u *url.URL, host string) bool {
	allowed, err := url.Parse("//" + host)
	if err != nil || !strings.EqualFold(u.Hostname(), allowed.Hostname()) {
		return false
	}
	port, usual := u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port == "" {
		port = usual
	}
	if allowed.Port() == "" {
		return port == usual
	}
	return port == allowed.Port()
}

// Read asks.
func (r *Reader) Read(ctx context.Context, gate model.GateSpec, about service.GateSubject) (model.GateVerdict, string) {
	if err := r.Check(gate); err != nil {
		// The hosts may be others than when the rollout started.
		return model.VerdictInconclusive, err.Error()
	}
	if gate.Prometheus != nil {
		return r.prometheus(ctx, *gate.Prometheus, about)
	}
	return r.webhook(ctx, *gate.Webhook, about)
}
