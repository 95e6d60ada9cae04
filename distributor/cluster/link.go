package cluster

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// A leader of which etcd hears, and this replica does not, would keep the clients of this replica waiting: nothing that they are sent comes from anywhere else. So it
// is asked all the time whether it is there, on the connection that carries their calls; what asks is of gRPC's own, which asks no oftener than every 10 s.
const (
	// beatInterval is between two questions, and beatTimeout how long an answer may take.
	beatInterval = 250 * time.Millisecond
	beatTimeout  = 900 * time.Millisecond
	// beatsMissed in a row are one too many: each of them has its time, so that a machine which has run nothing for a while does not take its own absence for that of
	// the leader. Together they are longer than etcd takes to say that a leader is gone (leaseSeconds, and half of one more): then clients wait where they are, and
	// come to the next leader over the connections that they have. They are shorter than the 5 s that deliveries may stop by as much as clients need to find another replica.
	beatsMissed = 3
	// beatsSpared are as many more as may go without an answer once etcd answers again which did not: it may have lost its own leader with the machine of this one, and
	// after an election of its own it gives every lease all of its time anew, and electionTime more.
	beatsSpared  = 2
	electionTime = time.Second
	// beatsBack in a row have an answer before a leader that was lost is reached again: a network that lets one through of many is none to send clients over.
	beatsBack = 3
	// hearTimeout is how long etcd's answer may take, which is asked for when the leader has none after hearPause. An election of etcd's takes longer.
	hearPause   = 100 * time.Millisecond
	hearTimeout = 500 * time.Millisecond
)

// link is what is known of the way to one leader. The zero value is a way that nothing is wrong with.
type link struct {
	// missed is how many questions have had no answer in a row; below zero, how many are still spared. back is how many have had one since it was lost.
	missed, back int
	// lost: the leader is not reached, since beatsMissed questions went without an answer and beatsBack have not had one since.
	lost bool
}

// heard is what a question to the leader has come to.
type heard int

const (
	// heardLeader: it is there.
	heardLeader heard = iota
	// missedLeader: it says nothing, while etcd answers.
	missedLeader
	// missedBoth: etcd does not answer either, so that nobody knows whether there is a leader.
	missedBoth
)

// after is what is known after another question, and whether another connection is to be tried.
func (l link) after(h heard) (next link, anew bool) {
	switch {
	case h == heardLeader && l.lost && l.back+1 < beatsBack:
		return link{lost: true, back: l.back + 1}, false
	case h == heardLeader:
		return link{}, false
	case h == missedBoth:
		return link{lost: l.lost, missed: -beatsSpared}, false
	}
	l.missed, l.back = l.missed+1, 0
	if l.missed < beatsMissed {
		return l, false
	}
	return link{lost: true}, true
}

// answers says whether what a question ended with came from the other end: any replica answers something, one of an older version that it knows no such call.
func answers(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false
	}
	return true
}

// ask asks whoever is at the other end once.
func ask(ctx context.Context, conn *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return answers(err)
}

// hear asks the leader once, and etcd where the leader takes its time.
func (r *Relay) hear(up *upstream) heard {
	ctx, stop := context.WithCancel(up.done)
	defer stop()
	known := make(chan bool, 1)
	go func() {
		pause(ctx, hearPause)
		known <- ctx.Err() == nil && r.member.hears(ctx)
	}()
	switch {
	case ask(ctx, up.conn):
		return heardLeader
	case <-known:
		return missedLeader
	}
	return missedBoth
}

// listen asks for as long as the upstream is the way to the leader. When the leader is lost, the way becomes another one: what the network holds back of this one may
// come much later, if ever, and its calls are ended.
func (r *Relay) listen(up *upstream) {
	for up.done.Err() == nil {
		asked := time.Now()
		h := r.hear(up)
		if h == heardLeader {
			r.beat(up, h)
			pause(up.done, beatInterval)
			continue
		}
		pause(up.done, beatTimeout-time.Since(asked)) // who refuses may be gone, which etcd is about to say
		if r.beat(up, h) && r.lost != nil {
			r.lost()
		}
	}
}

// beat notes how a question ended, and says whether that has ended the upstream.
func (r *Relay) beat(up *upstream, h heard) (ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lead != up {
		return false
	}
	was := r.link
	next, anew := was.after(h)
	r.link = next
	switch {
	case was.lost && !next.lost:
		r.log.Info("the leader is reached again", "leader", up.replica.Name, "address", up.replica.Address)
	case next.lost && !was.lost:
		r.log.Error("the leader is not reached, though etcd says that it is there; clients are sent to other replicas until it is. Let each replica reach the port of the others (--peer, --peer-name)",
			"leader", up.replica.Name, "address", up.replica.Address)
	}
	if anew {
		up.lose()
		r.lead = r.connect(up.replica)
	}
	return anew
}

// Lost says whether there is a leader that this replica does not reach, so that clients are better off at another one.
func (r *Relay) Lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.link.lost
}

// Linked gives a context that ends when ctx does, or when the leader that there is now is lost.
func (r *Relay) Linked(ctx context.Context) (context.Context, context.CancelFunc) {
	linked, cancel := context.WithCancel(ctx)
	up := r.current()
	if up == nil {
		return linked, cancel
	}
	stop := context.AfterFunc(up.linked, cancel)
	return linked, func() { stop(); cancel() }
}
