package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// What keeps etcd from filling up. The past is thrown away by the member in this process itself, as it is configured, and elsewhere here, since nobody knows how etcd was
// started; what that frees inside its file only defragmentation gives back to the disk, and an alarm for space, once raised, stays until somebody takes it away.
const (
	// keepPast is how old the past becomes. waft reads none of it but while a backup is made, which takes minutes; others may use the same etcd.
	keepPast = time.Hour
	// upkeepInterval is how often each member is asked how it is.
	upkeepInterval = time.Minute
	// wasteBytes and half of the file are what may lie idle in it. Defragmentation halts a member for about a second for each gigabyte in use.
	wasteBytes = 64 << 20
	// defragmentPause is the least time between two defragmentations of one member, so that one that does not help does no harm.
	defragmentPause = 10 * time.Minute
	// roomPercent is how much of its quota a member may use for an alarm to be taken away.
	roomPercent = 80
	// memberTimeout bounds a question to a member, and defragmentTimeout what it halts for.
	memberTimeout     = 5 * time.Second
	defragmentTimeout = 2 * time.Minute
)

// Room is how much of its space a store uses.
type Room struct {
	// Bytes is the largest file of a member, InUse what of it is used, and Quota how large it may become; 0 where etcd does not say.
	Bytes, InUse, Quota int64
	// Full: a member has raised the alarm for space, so that etcd refuses all writes.
	Full bool
}

// condition is how one member is.
type condition struct {
	endpoint           string
	bytes, used, quota int64
	defragmented       time.Time
}

// wasteful says whether a member is to be defragmented: for what lies idle in its file, or while etcd is full. What a member has just thrown away it may count
// as in use until it writes again, which it does not while it is full.
func (c condition) wasteful(full bool, now time.Time) bool {
	pause := defragmentPause
	if full {
		pause = upkeepInterval / 2 // it may have been done before the member had thrown its past away
	}
	if now.Sub(c.defragmented) < pause {
		return false
	}
	idle := c.bytes - c.used
	return full || idle > wasteBytes && idle > c.bytes/2
}

// roomy says whether a member has room again. One that does not say how large its file may become is believed to: it raises the alarm again where it has not.
func (c condition) roomy() bool { return c.quota == 0 || c.bytes < c.quota/100*roomPercent }

// Upkeep keeps the room of the store's etcd until ctx ends, and tells each time that it has looked. One process does it, the one that leads. Errors go to log:
// all of it is tried again. embedded is the member in this process, nil where etcd runs elsewhere.
func (s *Store) Upkeep(ctx context.Context, embedded *Embedded, log *slog.Logger, tell func(Room)) {
	u := newUpkeep(s.client, embedded, log)
	if embedded == nil {
		if room, err := u.look(ctx); err == nil {
			tell(room)
		}
		// Another one may have led a moment ago, and a member may still do what it asked for.
		select {
		case <-ctx.Done():
			return
		case <-time.After(upkeepInterval):
		}
	}
	t := time.NewTicker(upkeepInterval)
	defer t.Stop()
	for {
		room, err := u.round(ctx)
		if err == nil {
			tell(room)
		} else if ctx.Err() == nil {
			log.Warn("how much room etcd has cannot be said", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

type upkeep struct {
	client   *clientv3.Client
	embedded *Embedded
	log      *slog.Logger
	// defragmented is when each member was, by its endpoint.
	defragmented map[string]time.Time
	// past is which revision there was when, the oldest first. reserved: it was said that this user may throw none of it away.
	past     []moment
	reserved bool
	now      func() time.Time
}

// moment is a revision of etcd's, and when it was the latest.
type moment struct {
	at       time.Time
	revision int64
}

// trim is up to which revision the past is older than keepPast, 0 for none of it, and what there is to be remembered of it.
func trim(past []moment, now time.Time) (revision int64, rest []moment) {
	for len(past) > 0 && now.Sub(past[0].at) >= keepPast {
		revision, past = past[0].revision, past[1:]
	}
	return revision, past
}

// forget throws away what of the past is old, where no member in this process does.
func (u *upkeep) forget(ctx context.Context) error {
	if u.embedded != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, defragmentTimeout)
	defer cancel()
	latest, err := u.client.Get(ctx, schemaKey, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	var revision int64
	revision, u.past = trim(append(u.past, moment{u.now(), latest.Header.Revision}), u.now())
	if revision == 0 {
		return nil
	}
	if _, err = u.client.Compact(ctx, revision); err == nil || errors.Is(err, rpctypes.ErrCompacted) { // it may do so itself
		return nil
	}
	if !reserved(err) {
		return err
	}
	if !u.reserved {
		u.reserved = true
		u.log.Warn("etcd lets this user throw nothing of the past away: it fills up unless it does so itself (--auto-compaction-mode=revision --auto-compaction-retention=1000)", "error", errReserved)
	}
	return nil
}

// look says how much room there is, and does nothing about it.
func (u *upkeep) look(ctx context.Context) (Room, error) {
	full, err := u.full(ctx)
	if err != nil {
		return Room{}, err
	}
	room := largest(u.members(ctx))
	room.Full = full
	return room, nil
}

// largest is the room of the member whose file is largest.
func largest(members []condition) Room {
	var room Room
	for _, m := range members {
		if m.bytes > room.Bytes {
			room = Room{Bytes: m.bytes, InUse: m.used, Quota: m.quota}
		}
	}
	return room
}

func newUpkeep(client *clientv3.Client, embedded *Embedded, log *slog.Logger) *upkeep {
	return &upkeep{client: client, embedded: embedded, log: log, defragmented: map[string]time.Time{}, now: time.Now}
}

// round looks once, and does what is to be done.
func (u *upkeep) round(ctx context.Context) (Room, error) {
	full, err := u.full(ctx)
	if err != nil {
		return Room{}, err
	}
	if full {
		u.log.Error("etcd is full and refuses writes: no release, rollout or report is stored; what it does not need of the past is thrown away")
		if err := u.compact(ctx); reserved(err) {
			u.log.Error("etcd lets this user throw nothing of the past away", "error", errReserved)
		} else if err != nil {
			return Room{}, err
		}
	}
	if !full {
		if err := u.forget(ctx); err != nil {
			u.log.Warn("etcd did not throw away what is old of the past; it is asked again", "error", err)
		}
	}
	members := u.members(ctx)
	for i, m := range members {
		if !m.wasteful(full, u.now()) {
			continue
		}
		// One after the other: the others go on meanwhile.
		if err := u.defragment(ctx, m); reserved(err) {
			u.log.Warn("etcd lets this user defragment no member", "member", m.endpoint, "error", errReserved)
			continue
		} else if err != nil {
			u.log.Warn("a member of etcd was not defragmented", "member", m.endpoint, "error", err)
			continue
		}
		if again, ok := u.ask(ctx, m.endpoint); ok {
			members[i] = again
		}
	}
	roomy := len(members) > 0
	for _, m := range members {
		roomy = roomy && m.roomy()
	}
	room := largest(members)
	room.Full = full
	if full && roomy {
		switch err := u.disarm(ctx); {
		case reserved(err):
			u.log.Error("etcd has room again and refuses writes until its alarm is taken away, which it lets this user not do", "error", errReserved)
		case err != nil:
			return Room{}, err
		default:
			room.Full = false
		}
	}
	return room, nil
}

// reserved says whether etcd has refused what is for its administrators alone.
func reserved(err error) bool { return errors.Is(rpctypes.Error(err), rpctypes.ErrPermissionDenied) }

// errReserved says what to do then. It is no fault: a user that may only use waft's keys is what most will want.
var errReserved = &model.Error{
	Kind: model.ErrDenied, Object: "etcd", Message: "compaction, defragmentation and alarms are for users that have its role root",
	Next: "do it yourself (etcdctl compact, defrag, alarm disarm), or give the user of --etcd-user that role",
}

// full says whether a member has raised the alarm for space.
func (u *upkeep) full(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	list, err := u.client.AlarmList(ctx)
	if err != nil {
		return false, err
	}
	full := false
	for _, a := range list.Alarms {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			full = true
			continue
		}
		u.log.Error("etcd raises an alarm", "alarm", a.Alarm.String(), "member", a.MemberID)
	}
	return full, nil
}

// compact throws all of the past away.
func (u *upkeep) compact(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, defragmentTimeout)
	defer cancel()
	now, err := u.client.Get(ctx, schemaKey, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	_, err = u.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	return nil
}

// members are those that answer.
func (u *upkeep) members(ctx context.Context) []condition {
	endpoints := u.client.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{""} // the one in this process
	}
	var all []condition
	for _, e := range endpoints {
		if c, ok := u.ask(ctx, e); ok {
			all = append(all, c)
		}
	}
	return all
}

func (u *upkeep) ask(ctx context.Context, endpoint string) (condition, bool) {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	status, err := u.client.Status(ctx, endpoint)
	if err != nil {
		u.log.Debug("a member of etcd does not say how it is", "member", endpoint, "error", err)
		return condition{}, false
	}
	return condition{endpoint: endpoint, bytes: status.DbSize, used: status.DbSizeInUse, quota: status.DbSizeQuota, defragmented: u.defragmented[endpoint]}, true
}

func (u *upkeep) defragment(ctx context.Context, m condition) error {
	ctx, cancel := context.WithTimeout(ctx, defragmentTimeout)
	defer cancel()
	u.defragmented[m.endpoint] = u.now()
	begun := time.Now()
	var err error
	if u.embedded != nil {
		err = u.embedded.etcd.Server.Backend().Defrag() // etcd's own way to it expects a server that listens
	} else {
		_, err = u.client.Defragment(ctx, m.endpoint)
	}
	if err != nil {
		return err
	}
	u.log.Info("a member of etcd was defragmented", "member", m.endpoint, "bytes", m.bytes, "in use", m.used, "took", time.Since(begun))
	return nil
}

// disarm takes the alarms for space away.
func (u *upkeep) disarm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	list, err := u.client.AlarmList(ctx)
	if err != nil {
		return err
	}
	for _, a := range list.Alarms {
		if a.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if _, err := u.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			return err
		}
	}
	u.log.Warn("etcd has room again and takes writes; find out what filled it")
	return nil
}
