package model

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AuditEntry is one change, who made it and why. Every change has one. Each entry holds the hash of the one before it, so that none can be changed,
// removed or put in later without all that follow showing it; AuditWalk looks.
type AuditEntry struct {
	// Sequence is given by the store, rising by one from 1.
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	// Action: release.create, rollout.start, rollout.pause, node.retry, …
	Action string `json:"action"`
	// Object: release/NAME@sha256:…, rollout/NAME, node/ID.
	Object string `json:"object"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Previous is the hash of the entry before, empty for the first; Hash is that of this one. Seal sets both.
	Previous string `json:"previous,omitempty"`
	Hash     string `json:"hash,omitempty"`
}

// AuditHead is the end of an audit log: its last entry. Who keeps one elsewhere can tell later that nothing up to it has changed. The zero value is that of
// a log without entries.
type AuditHead struct {
	Sequence int64
	Hash     string
}

// String is SEQUENCE:HASH, 0: for the zero value.
func (h AuditHead) String() string { return strconv.FormatInt(h.Sequence, 10) + ":" + h.Hash }

// ParseAuditHead reads what String has written.
func ParseAuditHead(text string) (AuditHead, error) {
	sequence, hash, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil || n < 0 || (n == 0) != (hash == "") || (n > 0 && ValidateDigest("", "", hash) != nil) {
		return AuditHead{}, Invalidf("the audit log", "head", "give it as waft audit verify prints it: SEQUENCE:sha256:HEX", "%q is none", text)
	}
	return AuditHead{n, hash}, nil
}

// Seal is the entry as the next after a head: with its sequence, the hash before, and its own. Text that is not UTF-8 is mended and the time is brought to
// UTC first, since both would be on the way to whoever checks the hash.
func (e AuditEntry) Seal(after AuditHead) (AuditEntry, error) {
	e.Sequence, e.Previous, e.At = after.Sequence+1, after.Hash, e.At.UTC().Round(0)
	for _, text := range []*string{&e.Actor, &e.Action, &e.Object, &e.Reason, &e.Detail} {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
	}
	var err error
	e.Hash, err = e.hash()
	return e, err
}

// hash is the sha256 of the RFC 8785 form of the entry without its hash.
func (e AuditEntry) hash() (string, error) {
	e.Hash = ""
	text, err := CanonicalOf(e)
	if err != nil {
		return "", fmt.Errorf("audit entry %d: %w", e.Sequence, err)
	}
	return Digest(text), nil
}

// Head is the log's when this is its last entry.
func (e AuditEntry) Head() AuditHead { return AuditHead{e.Sequence, e.Hash} }

// AuditWalk checks a whole audit log, newest entry first: Take each, then End. The zero value is ready. Errors are of kind ErrConflict, and name the entry.
type AuditWalk struct {
	// Known, where it is not zero, is a head that was seen before: the log must hold it.
	Known AuditHead

	head    AuditHead
	started bool
	// next is the entry that must come.
	next AuditHead
}

// Head is that of the log, once its first entry was taken.
func (w *AuditWalk) Head() AuditHead { return w.head }

// Take checks the next older entry.
func (w *AuditWalk) Take(e AuditEntry) error {
	if !w.started {
		w.started, w.head, w.next = true, e.Head(), e.Head()
		if e.Sequence < w.Known.Sequence {
			return w.short(e.Head())
		}
	}
	switch hash, err := e.hash(); {
	case err != nil:
		return err
	case e.Sequence != w.next.Sequence:
		return auditErrorf("entry %d is missing: what comes before entry %d is entry %d", w.next.Sequence, w.next.Sequence+1, e.Sequence)
	case hash != e.Hash:
		return auditErrorf("entry %d was changed: its hash is %q, and what it says has %s", e.Sequence, e.Hash, hash)
	case e.Hash != w.next.Hash:
		return auditErrorf("entry %d is another than that which was written: its hash is %s, and entry %d follows on %q", e.Sequence, e.Hash, e.Sequence+1, w.next.Hash)
	case e.Sequence == w.Known.Sequence && e.Hash != w.Known.Hash:
		return auditErrorf("entry %d is another than before: its hash is %s, and was %s", e.Sequence, e.Hash, w.Known.Hash)
	}
	w.next = AuditHead{e.Sequence - 1, e.Previous}
	return nil
}

// End checks that nothing is missing at the beginning.
func (w *AuditWalk) End() error {
	switch {
	case !w.started && w.Known != AuditHead{}:
		return w.short(AuditHead{})
	case w.next.Sequence != 0:
		return auditErrorf("entry %d is missing, and all before it", w.next.Sequence)
	case w.next.Hash != "":
		return auditErrorf("entry 1 follows on %s, and there is nothing before it", w.next.Hash)
	}
	return nil
}

func (w *AuditWalk) short(head AuditHead) error {
	return auditErrorf("it ends with entry %d, and had entry %d before", head.Sequence, w.Known.Sequence)
}

func auditErrorf(format string, args ...any) error {
	return &Error{Kind: ErrConflict, Object: "the audit log", Message: fmt.Sprintf(format, args...),
		Next: "compare it with a backup (waft restore), and find out who can write to the store"}
}
