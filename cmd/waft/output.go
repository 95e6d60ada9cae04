package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"sigs.k8s.io/yaml"
)

// output is the flag -o: table, json or yaml.
type output struct{ format string }

// flag adds -o to a command.
func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table, json or yaml")
}

// check refuses a format that does not exist, before anything is done.
func (o *output) check() error {
	switch o.format {
	case "table", "json", "yaml":
		return nil
	}
	return usagef("-o %s: not a format; use table, json or yaml", o.format)
}

// print writes value in the chosen format; table draws it for a person.
func (o *output) print(w io.Writer, value any, table func(*table)) error {
	if o.format == "table" {
		t := newTable(w)
		table(t)
		return t.flush()
	}
	text, err := marshalIndented(value)
	if err != nil {
		return err
	}
	if o.format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	_, err = fmt.Fprintln(w, string(text))
	return err
}

// marshalIndented is JSON of a protobuf message, of a list of them, or of any Go value. protojson varies its white space
// on purpose, so its output is indented again here: equal values print equal bytes.
func marshalIndented(value any) ([]byte, error) {
	raw, err := marshal(value)
	if err != nil {
		return nil, err
	}
	var v any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	return json.MarshalIndent(v, "", "  ")
}

func marshal(value any) ([]byte, error) {
	switch v := value.(type) {
	case proto.Message:
		return protojson.Marshal(v)
	default:
		return json.Marshal(v)
	}
}

// items makes a list of messages printable; an empty list is [], not null.
func items[M proto.Message](messages []M) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, 0, len(messages))
	for _, m := range messages {
		raw, err := protojson.Marshal(m)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// membersOf are the fields of a message as its JSON has them.
func membersOf(m proto.Message) (map[string]any, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	err = json.Unmarshal(raw, &fields)
	return fields, err
}

// table writes aligned columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) *table {
	return &table{w: tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)}
}

func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = printable(fmt.Sprint(cell))
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
}

// printable keeps a cell on its line and a terminal as it is: what nodes and modules say of themselves is shown, and their
// control characters are shown as such.
func printable(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (t *table) flush() error { return t.w.Flush() }

// age is how long ago something was, as kubectl prints it.
func age(at *timestamppb.Timestamp, now time.Time) string {
	if at == nil || at.AsTime().IsZero() {
		return "-"
	}
	return lasting(now.Sub(at.AsTime()))
}

// lasting is how long something is, as kubectl prints it.
func lasting(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short cuts a digest to what a person compares: sha256:0123456789ab.
func short(digest string) string {
	const kept = len("sha256:") + 12
	if at := strings.Index(digest, "sha256:"); at >= 0 && len(digest)-at > kept {
		return digest[:at+kept]
	}
	return dash(digest)
}
