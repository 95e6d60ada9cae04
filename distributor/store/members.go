package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A client of etcd spreads its calls over all members that it can connect to. One that the others cannot reach, or that has been halted, takes calls all the
// same and answers none, so that every third call would be lost for as long as that lasts. So each member is asked something that takes a majority to
// answer, and those that do not answer are left out.
const (
	// fitInterval is between two questions to a member, and fitTimeout how long it may take: together well within the lease of a leader.
	fitInterval = 300 * time.Millisecond
	fitTimeout  = 700 * time.Millisecond
)

// keepFit keeps the endpoints of a client to the fit ones until the client is closed.
func keepFit(client *clientv3.Client, cfg clientv3.Config, log *slog.Logger) {
	ctx := client.Ctx()
	var mu sync.Mutex
	unfit := map[string]bool{}
	used := slices.Clone(cfg.Endpoints)
	said := func(endpoint string, fit bool) {
		mu.Lock()
		defer mu.Unlock()
		if unfit[endpoint] == !fit {
			return
		}
		unfit[endpoint] = !fit
		next := fitting(cfg.Endpoints, unfit)
		if slices.Equal(next, used) {
			return // none is fit: whatever ails them may end anywhere
		}
		used = next
		client.SetEndpoints(next...)
		if fit {
			log.Info("a member of etcd answers again", "member", endpoint)
		} else {
			log.Warn("a member of etcd does not answer, and is not asked until it does", "member", endpoint)
		}
	}
	var asking sync.WaitGroup
	for _, endpoint := range cfg.Endpoints {
		asking.Go(func() { askMember(ctx, cfg, endpoint, func(fit bool) { said(endpoint, fit) }) })
	}
	asking.Wait()
}

// fitting are the endpoints that are fit; all where none is.
func fitting(all []string, unfit map[string]bool) []string {
	fit := slices.DeleteFunc(slices.Clone(all), func(e string) bool { return unfit[e] })
	if len(fit) == 0 {
		return all
	}
	return fit
}

// silent says whether an error means that nobody, or no majority, has answered.
func silent(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || unconnected(err) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	var said rpctypes.EtcdError
	return errors.As(err, &said) && (said.Code() == codes.Unavailable || said.Code() == codes.DeadlineExceeded)
}

// askMember asks one member again and again, by a client of its own, until ctx ends.
func askMember(ctx context.Context, cfg clientv3.Config, endpoint string, say func(fit bool)) {
	cfg.Endpoints, cfg.Context = []string{endpoint}, ctx
	var client *clientv3.Client
	defer func() {
		if client != nil {
			_ = client.Close() // it has only read
		}
	}()
	t := time.NewTicker(fitInterval)
	defer t.Stop()
	for {
		if client == nil {
			// Where etcd asks for a user this already asks it.
			client, _ = clientv3.New(cfg)
		}
		fit := client != nil
		if fit {
			asking, cancel := context.WithTimeout(ctx, fitTimeout)
			_, err := client.Get(asking, schemaKey, clientv3.WithCountOnly())
			cancel()
			// A member that says no has answered.
			fit = err == nil || !silent(err)
		}
		if ctx.Err() != nil {
			return
		}
		say(fit)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
