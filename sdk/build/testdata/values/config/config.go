// Package config holds a configuration with every tag that there is.
package config

import (
	"errors"
	"regexp"
	"time"

	"github.com/waft-project/waft/sdk"
)

// Config is a configuration with every tag.
type Config struct {
	Share   float64 `json:"share,omitempty" min:"0" max:"0.5"`
	Port    uint16  `json:"port,omitempty" min:"1" default:"8080"`
	Signed  int64   `json:"signed,omitempty" min:"-3" max:"9223372036854775806"`
	Pointer *int    `json:"pointer,omitempty" max:"7"`

	Code    string `json:"code,omitempty" minLength:"2" maxLength:"3"`
	Slug    string `json:"slug,omitempty" pattern:"^[a-z]+$"`
	Digit   string `json:"digit,omitempty" pattern:"[0-9]"`
	Mode    string `json:"mode,omitempty" enum:"fast,slow" default:"slow"`
	Unset   string `json:"unset,omitempty" enum:"a,b"`
	Letters Upper  `json:"letters,omitzero" minLength:"2" maxLength:"2"`

	Methods []string         `json:"methods,omitempty" enum:"GET,PUT" minItems:"1" maxItems:"2"`
	Names   []string         `json:"names,omitempty" minLength:"1" default:"[\"x\"]"`
	Grid    [][]int          `json:"grid,omitempty" max:"9" maxItems:"1"`
	Weights map[string]uint8 `json:"weights,omitempty" min:"1" max:"100" minItems:"1" maxItems:"2"`
	Numbers [2]int           `json:"numbers,omitzero" min:"0"`

	Wait   time.Duration   `json:"wait,omitempty" min:"0" default:"1000"`
	Header sdk.HeaderName  `json:"header,omitempty" default:"x-key"`
	Deep   Deep            `json:"deep,omitzero"`
	Maybe  *Deep           `json:"maybe,omitzero"`
	Routes sdk.Rules[Deep] `json:"routes,omitzero"`
}

// MatchPattern makes the pattern tags count.
func (*Config) MatchPattern(pattern, text string) (bool, error) {
	return regexp.MatchString(pattern, text)
}

// Deep has defaults of its own.
type Deep struct {
	Level int    `json:"level,omitempty" min:"1" max:"5" default:"3"`
	Note  string `json:"note,omitempty"`
}

// Upper is a string that decodes itself.
type Upper string

// UnmarshalText takes upper-case letters.
func (u *Upper) UnmarshalText(text []byte) error {
	for _, c := range text {
		if c < 'A' || 'Z' < c {
			return errors.New("want upper-case letters")
		}
	}
	*u = Upper(text)
	return nil
}
