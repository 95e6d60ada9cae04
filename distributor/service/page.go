package service

import (
	"encoding/base64"
	"strconv"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of pages, in items.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
)

// Page asks for a part of a list. The zero value is the first page of DefaultPageSize items.
type Page struct {
	// Size is how many items at most; 0 means DefaultPageSize, and more than MaxPageSize means MaxPageSize.
	Size int
	// Token is what the page before returned; empty for the first.
	Token string
}

func (p Page) limit() (int, error) {
	switch {
	case p.Size < 0:
		return 0, model.Invalidf("", "page_size", "give 0 for the default", "is %d, less than 0", p.Size)
	case p.Size == 0:
		return DefaultPageSize, nil
	default:
		return min(p.Size, MaxPageSize), nil
	}
}

func errToken() error {
	return model.Invalidf("", "page_token", "give the token that the page before returned, unchanged", "is not a page token")
}

// cursor reads a token made by cursorToken.
func (p Page) cursor() (int64, error) {
	if p.Token == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.Token, 36, 64)
	if err != nil || n <= 0 || cursorToken(n) != p.Token { // ParseInt takes signs, zeros in front, and capitals
		return 0, errToken()
	}
	return n, nil
}

func cursorToken(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 36)
}

// after reads a token made by afterToken.
func (p Page) after() (string, error) {
	if p.Token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err != nil || len(b) == 0 || afterToken(string(b)) != p.Token { // DecodeString passes over ends of lines, and over bits behind the last byte
		return "", errToken()
	}
	return string(b), nil
}

// span is how many items the page has at most, and after which it begins.
func (p Page) span() (limit int, after string, err error) {
	if limit, err = p.limit(); err != nil {
		return 0, "", err
	}
	after, err = p.after()
	return limit, after, err
}

func afterToken(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// list reads one page of what the store keeps newest first.
func list[T any](s *Service, page Page, read func(cursor int64, limit int) ([]T, int64, error)) ([]T, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	cursor, err := page.cursor()
	if err != nil {
		return nil, "", err
	}
	if err := s.Ready(); err != nil {
		return nil, "", err
	}
	found, next, err := read(cursor, limit)
	if err != nil {
		return nil, "", err
	}
	return found, cursorToken(next), nil
}
