package sdk

// directCallees is how many callouts under way can have a place of their own in a [calleeTable]. It is a power of two.
const directCallees = 64

// calleeTable finds who made a callout by its token. Hosts count tokens up in steps of four, since the last two bits are the kind of the
// callout, so those that are under way at one time mostly have places of their own, as in [streamTable].
type calleeTable struct {
	direct [directCallees]struct {
		token  uint32
		callee callee
	}
	others map[uint32]callee
}

func calleePlace(token uint32) uint32 { return token / 4 % directCallees }

// get is who made the callout, nil when nobody waits for it.
func (t *calleeTable) get(token uint32) callee {
	if place := &t.direct[calleePlace(token)]; place.token == token && place.callee != nil {
		return place.callee
	}
	return t.others[token]
}

// put has the answers to a callout go to c. A host that gives out a token again has forgotten the callout before.
func (t *calleeTable) put(token uint32, c callee) {
	place := &t.direct[calleePlace(token)]
	if place.callee != nil && place.token != token {
		if t.others == nil {
			t.others = map[uint32]callee{}
		}
		t.others[token] = c
		return
	}
	delete(t.others, token)
	place.token, place.callee = token, c
}

// forget ends that. A host may have used the token again by then.
func (t *calleeTable) forget(token uint32, c callee) {
	if place := &t.direct[calleePlace(token)]; place.token == token && place.callee == c {
		place.callee = nil
		return
	}
	if t.others[token] == c {
		delete(t.others, token)
	}
}

// size is how many callouts are under way.
func (t *calleeTable) size() int {
	n := len(t.others)
	for i := range t.direct {
		if t.direct[i].callee != nil {
			n++
		}
	}
	return n
}
