package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// minStep is how many bytes a download must have come further since it was cut off for the attempts to count anew. It
// bounds the requests that a registry can cause that gives a few bytes each time.
const minStep = 256 << 10

// download is the body of a blob that goes on where it was cut off, at the same place or another. Nothing of it is
// verified: whoever reads it must do that, over all of it.
type download struct {
	c       *Client
	ctx     context.Context // of the one who opened it; it ends with it
	op      string
	ref     Reference
	want    Descriptor
	places  []Reference
	from    Reference // the one of places that gave body
	body    io.ReadCloser
	at      int64 // the offset of the next byte
	skip    int64 // how many bytes of body come before it
	broken  error // how the body ended, when it is to be told after the bytes before it
	attempt int
	mark    int64 // at, when attempt was last 0
}

// openBlob gives a blob's bytes from offset on, or from its beginning where no place gives a part, and the offset at which
// they begin.
func (c *Client) openBlob(ctx context.Context, op string, ref Reference, want Descriptor, places []Reference, offset int64) (io.ReadCloser, int64, error) {
	d := &download{c: c, ctx: ctx, op: op, ref: ref, want: want, places: places, at: offset, mark: offset}
	if err := d.open(); err != nil {
		return nil, 0, err
	}
	if d.skip > 0 {
		d.at, d.mark, d.skip = 0, 0, 0
	}
	return d, d.at, nil
}

// opened is a body, and the offset of its first byte.
type opened struct {
	body  io.ReadCloser
	first int64
	from  Reference
}

func (d *download) open() error {
	got, err := inTurn(d.ctx, d.ref, d.places, d.openAt)
	if err != nil {
		return err
	}
	d.body, d.from, d.skip, d.broken = got.body, got.from, d.at-got.first, nil
	return nil
}

// openAt asks one place for what is still to come. A place that does not know Range answers with everything, which is as
// good; one that answers with something else is not used.
func (d *download) openAt(at Reference) (opened, error) {
	header := http.Header{}
	if d.at > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(d.at, 10)+"-")
	}
	resp, err := d.c.get(d.ctx, d.op, d.ref, at, kindBlobs, string(d.want.Digest), header)
	if err != nil {
		return opened{}, err
	}
	subject := d.ref.subject(string(d.want.Digest))
	var first int64
	if resp.StatusCode == http.StatusPartialContent {
		if first = d.at; d.at == 0 || !rangeFits(resp.Header.Get("Content-Range"), d.at, d.want.Size) {
			_ = resp.Body.Close() // nothing of it is used
			return opened{}, &Error{Op: d.op, Subject: subject, Kind: ErrRefused, Next: "see the registry's log",
				Detail: fmt.Sprintf("%s was asked for the bytes from %d on and answered with %s", at.Registry, d.at, quote(resp.Header.Get("Content-Range")))}
		}
	}
	if n := resp.ContentLength; n >= 0 && d.want.Size > 0 && first+n != d.want.Size {
		_ = resp.Body.Close() // nothing of it is used
		return opened{}, sizeMismatch(d.op, subject, d.want.Size, first+n)
	}
	return opened{body: resp.Body, first: first, from: at}, nil
}

// rangeFits says whether a Content-Range is of the bytes from first to the end.
// https://www.rfc-editor.org/rfc/rfc9110#name-content-range
func rangeFits(text string, first, size int64) bool {
	text, ok := strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(text, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 || from != strconv.FormatInt(first, 10) {
		return false
	}
	last, err := strconv.ParseInt(to, 10, 64)
	if err != nil || last < first || size > 0 && last != size-1 {
		return false
	}
	return total == "*" || total == strconv.FormatInt(last+1, 10)
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.broken != nil {
			if err := d.resume(); err != nil {
				return 0, err
			}
		}
		if d.skip > 0 {
			n, err := d.body.Read(p[:min(int64(len(p)), d.skip)])
			d.skip -= int64(n)
			switch {
			case err == io.EOF && d.skip > 0:
				return 0, sizeMismatch(d.op, d.ref.subject(string(d.want.Digest)), d.want.Size, d.at-d.skip)
			case err != nil && err != io.EOF:
				d.broken = err
			}
			continue
		}
		n, err := d.body.Read(p)
		d.at += int64(n)
		if err != nil && err != io.EOF {
			d.broken = err
			if n > 0 {
				return n, nil
			}
			continue
		}
		return n, err
	}
}

// resume opens what is still to come after the body broke off, or gives the error with which it did.
func (d *download) resume() error {
	broken := d.broken
	if d.at-d.mark >= minStep {
		d.attempt, d.mark = 0, d.at
	}
	var cut *cutError
	wait, again := d.c.backoff.next(d.attempt, 0)
	if !again || !errors.As(broken, &cut) || d.ctx.Err() != nil {
		return broken
	}
	d.attempt++
	if errors.Is(broken, errStalled) {
		// It would stall again; another place goes on from there.
		d.places = append(slices.DeleteFunc(slices.Clone(d.places), func(at Reference) bool { return at == d.from }), d.from)
	}
	_ = d.body.Close() // it broke off
	d.body = http.NoBody
	if err := d.c.clock.Sleep(d.ctx, wait); err != nil {
		return err
	}
	return d.open()
}

func (d *download) Close() error { return d.body.Close() }
