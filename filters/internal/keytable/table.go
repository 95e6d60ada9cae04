package keytable

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/waft-project/waft/sdk"
)

// The shape of the table in the shared data. A new shape gets new names.
const (
	// Ways is how many slots a set has.
	Ways = 8
	// SlotSize is the bytes of a slot: the key's fingerprint and its numbers.
	SlotSize   = 24
	secretSize = 16
	shape      = "/1/"
)

// Slot is what the table keeps for a key. The zero Slot is that of a key that it does not know.
type Slot struct {
	// Until is when the slot says nothing any more, in nanoseconds since the epoch: what is kept may be lost from then on.
	Until int64
	Value int64
}

// Table is slots by key. It may be used by one VM.
type Table struct {
	data   sdk.SharedData
	secret secret
	prefix string // of the sets' names
	sets   uint64
}

// Open opens the table of a name, as every worker does, with at least so many slots. Tables of one name and size are the same.
func Open(data sdk.SharedData, name string, slots int) (*Table, error) {
	sets := (slots + Ways - 1) / Ways
	// Tables of different sizes must not meet: a set holds what its own table put there.
	t := &Table{data: data, sets: uint64(sets), prefix: name + shape + strconv.Itoa(sets) + "/"}
	raw, err := agree(data, name+"/secret")
	if err != nil {
		return nil, err
	}
	t.secret = secret{binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])}
	return t, nil
}

var errKnown = errors.New("the secret is there")

// agree gives the secret that the first worker made.
func agree(data sdk.SharedData, name string) ([]byte, error) {
	var agreed []byte
	err := data.Update(name, func(there []byte) ([]byte, error) {
		if agreed = there; len(there) == secretSize {
			return nil, errKnown
		}
		agreed = make([]byte, secretSize)
		_, err := rand.Read(agreed)
		return agreed, err
	})
	if err != nil && !errors.Is(err, errKnown) {
		return nil, fmt.Errorf("agree on the secret of a table: %w", err)
	}
	return agreed, nil
}

var errUnchanged = errors.New("unchanged")

// Update has change see the slot of a key, and write it where it says so, with no other worker in between; change may be called
// several times, and counts for the last. evicted says that another key had to go, whose slot still said something. The error is
// that other workers were faster again and again.
func (t *Table) Update(key []byte, now int64, change func(s *Slot) (write bool)) (evicted bool, err error) {
	return t.update(key, now, func(s *Slot, _ bool) bool { return change(s) })
}

// Kept is what became of a key that was to be remembered.
type Kept int

const (
	// Fresh: the table did not know the key, and does now.
	Fresh Kept = iota
	// Known: it knew the key already.
	Known
	// Full: nothing may be forgotten yet where the key belongs, so the table does not know it.
	Full
)

// Remember keeps a key until a time, and says whether the table knew it. Of workers that have it remember one key, one is told that it
// is fresh. It gives up no slot that still says something, as [Table.Update] does: a table is for one of the two. The error is that of
// Update; then the key may be known or not.
//
// Keys are spread over the sets by chance, so some sets are full before the others. While a key in four slots is remembered, one in a
// thousand finds its set full; in eight, one in a hundred thousand.
func (t *Table) Remember(key []byte, now, until int64) (Kept, error) {
	kept := Fresh
	_, err := t.update(key, now, func(s *Slot, evicts bool) bool {
		switch {
		case s.Until > now:
			kept = Known
		case evicts:
			kept = Full
		default:
			kept = Fresh
			s.Until = until
		}
		return kept == Fresh
	})
	return kept, err
}

// update is Update whose change is told whether writing costs another key its slot.
func (t *Table) update(key []byte, now int64, change func(s *Slot, evicts bool) (write bool)) (evicted bool, err error) {
	name := t.prefix + strconv.FormatUint(siphash(t.secret, key)%t.sets, 10)
	fingerprint := siphash(secret{t.secret[1], t.secret[0]}, key) | 1 // never zero, which is a slot that nobody has
	err = t.data.Update(name, func(set []byte) ([]byte, error) {
		if len(set) != Ways*SlotSize {
			set = make([]byte, Ways*SlotSize)
		}
		var raw []byte
		raw, evicted = find(set, fingerprint, now)
		s := Slot{Until: int64(binary.LittleEndian.Uint64(raw[8:])), Value: int64(binary.LittleEndian.Uint64(raw[16:]))}
		if !change(&s, evicted) {
			evicted = false
			return nil, errUnchanged
		}
		binary.LittleEndian.PutUint64(raw, fingerprint)
		binary.LittleEndian.PutUint64(raw[8:], uint64(s.Until))
		binary.LittleEndian.PutUint64(raw[16:], uint64(s.Value))
		return set, nil
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return evicted, err
}

// find finds the slot of a key in a set, or makes room for it.
func find(set []byte, fingerprint uint64, now int64) (slot []byte, evicted bool) {
	soonest := int64(0)
	for at := 0; at < len(set); at += SlotSize {
		s := set[at : at+SlotSize]
		if binary.LittleEndian.Uint64(s) == fingerprint {
			return s, false
		}
		if until := int64(binary.LittleEndian.Uint64(s[8:])); slot == nil || until < soonest {
			slot, soonest = s, until
		}
	}
	clear(slot)
	return slot, soonest > now
}
