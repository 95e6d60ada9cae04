package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/waft-project/waft/sdk"
)

// The shape of the table in the shared data. A value cannot be deleted there, so the keys are numbers of a fixed range: a set of slots
// each. A new shape gets new names.
const (
	// ways is how many slots a set has.
	ways = 8
	// slotSize is the bytes of a slot: the key's fingerprint, and when its bucket is full.
	slotSize = 16
	// setPrefix and secretKey name the values.
	setPrefix = "ratelimit/1/"
	secretKey = "ratelimit/secret"
)

// table is the buckets of all keys, for all workers.
type table struct {
	data   sdk.SharedData
	secret secret
	names  []string // of the sets
}

// newTable opens the table, which every worker does.
func newTable(data sdk.SharedData, slots int) (*table, error) {
	t := &table{data: data, names: make([]string, (slots+ways-1)/ways)}
	for i := range t.names {
		// Tables of different sizes must not meet: a set holds what its table put there.
		t.names[i] = setPrefix + strconv.Itoa(len(t.names)) + "/" + strconv.Itoa(i)
	}
	raw, err := agree(data)
	if err != nil {
		return nil, err
	}
	t.secret = secret{binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])}
	return t, nil
}

// agree gives the secret that the first worker made.
func agree(data sdk.SharedData) ([]byte, error) {
	var agreed []byte
	err := data.Update(secretKey, func(there []byte) ([]byte, error) {
		if agreed = there; len(there) == slotSize {
			return nil, errKnown
		}
		agreed = make([]byte, slotSize)
		_, err := rand.Read(agreed)
		return agreed, err
	})
	if err != nil && !errors.Is(err, errKnown) {
		return nil, fmt.Errorf("agree on the secret of the table: %w", err)
	}
	return agreed, nil
}

var errKnown = errors.New("the secret is there")

// take takes a request from the bucket of a key. evicted says that another key had to go for it.
func (t *table) take(key []byte, b bucket, now int64) (v verdict, evicted bool, err error) {
	hash := siphash(t.secret, key)
	name := t.names[hash%uint64(len(t.names))]
	fingerprint := siphash(secret{t.secret[1], t.secret[0]}, key) | 1 // never zero, which is a slot that nobody has
	err = t.data.Update(name, func(set []byte) ([]byte, error) {
		if len(set) != ways*slotSize {
			set = make([]byte, ways*slotSize)
		}
		var slot []byte
		slot, evicted = find(set, fingerprint, now)
		var fullAt int64
		if fullAt, v = b.take(int64(binary.LittleEndian.Uint64(slot[8:])), now); !v.ok {
			return nil, errDenied
		}
		binary.LittleEndian.PutUint64(slot, fingerprint)
		binary.LittleEndian.PutUint64(slot[8:], uint64(fullAt))
		return set, nil
	})
	if errors.Is(err, errDenied) {
		return v, false, nil // nothing changed
	}
	return v, evicted, err
}

var errDenied = errors.New("denied")

// find finds the slot of a key in a set, or makes room: a slot whose bucket is full again says nothing, and else the one goes that
// is full soonest, which forgets least.
func find(set []byte, fingerprint uint64, now int64) (slot []byte, evicted bool) {
	soonest := int64(0)
	for at := 0; at < len(set); at += slotSize {
		s := set[at : at+slotSize]
		if binary.LittleEndian.Uint64(s) == fingerprint {
			return s, false
		}
		if fullAt := int64(binary.LittleEndian.Uint64(s[8:])); slot == nil || fullAt < soonest {
			slot, soonest = s, fullAt
		}
	}
	clear(slot)
	return slot, soonest > now
}
