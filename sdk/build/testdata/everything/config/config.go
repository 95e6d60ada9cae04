// Package config holds a configuration with every kind of type that there is.
package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/waft-project/waft/sdk/build/testdata/everything/shared"
)

// Config is the configuration of everything.
// It has two lines.
//
// And a second paragraph with <brackets> & "quotes".
type Config struct {
	// Name has a doc comment.
	Name string `json:"name"`
	Mode string `json:"mode" enum:"fast,slow"` // Mode has a line comment.
	// Level is optional, so the empty string is a value of it.
	Level   string  `json:"level,omitempty" enum:"low,high"`
	MaybeOf *string `json:"maybeOf,omitzero" enum:"a,b"`

	Bool    bool    `json:"bool,omitempty"`
	Int     int     `json:"int,omitempty"`
	Int8    int8    `json:"int8,omitempty"`
	Uint16  uint16  `json:"uint16,omitempty"`
	Uint64  uint64  `json:"uint64,omitempty"`
	Float   float64 `json:"float,omitempty"`
	Pointer *int32  `json:"pointer,omitempty"`

	Strings []string           `json:"strings,omitempty"`
	Bytes   []byte             `json:"bytes,omitempty"`
	Pair    [2]int16           `json:"pair,omitzero"`
	Map     map[string]float32 `json:"map,omitempty"`
	ByKind  map[Kind][]Rule    `json:"byKind,omitempty"`

	Any      any             `json:"any,omitempty"`
	Raw      json.RawMessage `json:"raw,omitempty"`
	Duration time.Duration   `json:"duration,omitempty"`
	Time     time.Time       `json:"time,omitzero"`
	Address  netip.Addr      `json:"address,omitzero"`
	Own      Own             `json:"own,omitzero"`

	// Rules refer to a type by name.
	Rules []Rule       `json:"rules,omitempty"`
	Limit Limit        `json:"limit,omitzero"`
	Other shared.Limit `json:"other,omitzero"`
	Tree  *Node        `json:"tree,omitempty"`
	Again *Config      `json:"again,omitempty"`
	Inner struct {
		// X is in a struct without a name.
		X int `json:"x"`
	} `json:"inner,omitzero"`
	Generic Box[string] `json:"generic,omitzero"`

	Embedded
	*Optional

	Unnamed string `json:",omitempty"`
	NoTag   string
	Ignored string `json:"-"`
	private string
}

// Kind is a string of its own type.
type Kind string

// Rule is a struct that others refer to.
type Rule struct {
	Path string `json:"path"` // Path to match.
	Kind Kind   `json:"kind,omitempty"`
}

// Limit is a limit.
type Limit struct {
	Requests uint8 `json:"requests"`
}

// Node refers to itself.
type Node struct {
	Value    int     `json:"value,omitempty"`
	Children []*Node `json:"children,omitempty"`
}

// Box is generic.
type Box[T any] struct {
	Value T `json:"value"`
}

// Embedded gives its fields to the struct around it, but for those that the other has.
type Embedded struct {
	// FromEmbedded comes from an embedded struct.
	FromEmbedded int  `json:"fromEmbedded"`
	Name         bool `json:"name"`
}

// Optional is embedded as a pointer.
type Optional struct {
	FromOptional string `json:"fromOptional,omitempty"`
}

// Own decodes itself.
type Own struct{ odd int }

// UnmarshalJSON takes odd numbers.
func (o *Own) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &o.odd); err != nil {
		return err
	}
	if o.odd%2 == 0 {
		return errors.New("want an odd number")
	}
	return nil
}
