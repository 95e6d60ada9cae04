package merge

import (
	"encoding/json"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// An item of a list that is merged by key says with patchMember: patchDelete that the item of its key is taken away (the words are those of Kubernetes' strategic
// merge patch).
const (
	patchMember = "$patch"
	patchDelete = "delete"
)

// maxKey bounds a key of a list's item as JSON, in bytes: it stands in the path of each field of the item.
const maxKey = 1024

// keyOf is the member by which a list is merged; empty for one that is replaced.
func (o laying) keyOf(p place) string {
	for _, l := range o.lists {
		if l.Path == p.in {
			return l.Key
		}
	}
	return ""
}

// applyItems lays the items of a list over those that are there: items of one key are merged where they stand, new ones come behind in their order.
func (o laying) applyItems(p place, key string, target, patch []any) (any, error) {
	under, err := keysOf(p, key, target)
	if err != nil {
		return nil, err
	}
	over, err := keysOf(p, key, patch)
	if err != nil {
		return nil, err
	}
	merged := append([]any{}, target...)
	at := map[string]int{}
	for i, k := range under {
		at[k] = i
	}
	gone := map[int]bool{}
	// What an earlier layer gave as one list is told apart now: from here on its items may come from several.
	if was, known := o.origins[p.at]; known {
		earlier := laying{origins: o.origins, layer: was}
		for i, k := range under {
			at := fmt.Sprintf("%s[%s=%s]", p.at, key, k)
			if _, told := o.origins[at]; !told {
				earlier.note(at, target[i])
			}
		}
	}
	o.origins[p.at] = o.layer
	for i, k := range over {
		item, _ := patch[i].(map[string]any) // keysOf has seen to that
		inside := place{at: fmt.Sprintf("%s[%s=%s]", p.at, key, k), in: p.in + "[]"}
		where, there := at[k]
		if deleted, err := deletes(inside, item); err != nil {
			return nil, err
		} else if deleted {
			if there {
				gone[where] = true
				o.forget(inside.at)
			}
			continue
		}
		if !there {
			first, err := o.first(inside, item)
			if err != nil {
				return nil, err
			}
			o.note(inside.at, first)
			merged = append(merged, first)
			continue
		}
		if merged[where], err = o.apply(inside, merged[where], item); err != nil {
			return nil, err
		}
	}
	kept := make([]any, 0, len(merged))
	for i, item := range merged {
		if !gone[i] {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// first is a value that nothing is under: as it is, but that in its lists which are merged by key nothing is taken away any more, and no key stands twice.
func (o laying) first(p place, value any) (any, error) {
	if len(o.lists) == 0 {
		return value, nil
	}
	switch v := value.(type) {
	case map[string]any:
		if model.IsSecret(v) {
			return value, nil
		}
		out := make(map[string]any, len(v))
		for name, child := range v {
			var err error
			if out[name], err = o.first(p.member(name), child); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		key := o.keyOf(p)
		if key == "" {
			return value, nil
		}
		keys, err := keysOf(p, key, v)
		if err != nil {
			return nil, err
		}
		out := make([]any, 0, len(v))
		for i, k := range keys {
			inside := place{at: fmt.Sprintf("%s[%s=%s]", p.at, key, k), in: p.in + "[]"}
			item, _ := v[i].(map[string]any) // as above
			if deleted, err := deletes(inside, item); err != nil {
				return nil, err
			} else if deleted {
				continue
			}
			first, err := o.first(inside, v[i])
			if err != nil {
				return nil, err
			}
			out = append(out, first)
		}
		return out, nil
	}
	return value, nil
}

// keysOf are the keys of a list's items, as JSON, in their order.
func keysOf(p place, key string, items []any) ([]string, error) {
	keys := make([]string, 0, len(items))
	seen := map[string]bool{}
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, model.Invalidf("", fmt.Sprintf("%s[%d]", p.at, i), "write an object", "the list is merged by %s, and this item is no object", key)
		}
		var text string
		switch v := object[key].(type) {
		case string, bool, json.Number:
			text = quote(v)
		default:
			return nil, model.Invalidf("", fmt.Sprintf("%s[%d].%s", p.at, i, key), "give it a string, a number or a boolean", "the list is merged by it, and this item has none")
		}
		if len(text) > maxKey {
			return nil, model.Invalidf("", fmt.Sprintf("%s[%d].%s", p.at, i, key), "shorten it", "the list is merged by it, and it has %d bytes, more than %d", len(text), maxKey)
		}
		if seen[text] {
			return nil, model.Invalidf("", fmt.Sprintf("%s[%d].%s", p.at, i, key), "give each item once", "the list is merged by it, and %s stands there already", text)
		}
		seen[text] = true
		keys = append(keys, text)
	}
	return keys, nil
}

// deletes says whether an item takes the one of its key away.
func deletes(p place, item map[string]any) (bool, error) {
	said, there := item[patchMember]
	if !there {
		return false, nil
	}
	if said != patchDelete {
		return false, model.Invalidf("", member(p.at, patchMember), "write "+patchDelete+", or leave it out", "%v is not known", said)
	}
	return true, nil
}
