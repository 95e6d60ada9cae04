package descriptors

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/waft-project/waft/distributor/model"
)

// flagsFile is what protoc makes of acme/flags/v1/flags.proto, which imports google/protobuf/duration.proto and google/protobuf/any.proto.
func flagsFile() *descriptorpb.FileDescriptorProto {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, of string, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: &label}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	one, many := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	text, boolean, number, message := descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BOOL, descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	byName, byGroup := field("user_name", 5, text, "", one), field("user_group", 6, text, "", one)
	byName.OneofIndex, byGroup.OneofIndex = new(int32), new(int32)
	return &descriptorpb.FileDescriptorProto{
		Name: proto.String("acme/flags/v1/flags.proto"), Package: proto.String("acme.flags.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/duration.proto", "google/protobuf/any.proto"},
		MessageType: []*descriptorpb.DescriptorProto{
			{
				Name: proto.String("Flag"), OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("who")}},
				Field: []*descriptorpb.FieldDescriptorProto{
					field("enabled", 1, boolean, "", one), field("rules", 2, message, ".acme.flags.v1.Rule", many),
					field("max_age", 3, message, ".google.protobuf.Duration", one), field("extra", 4, message, ".google.protobuf.Any", one), byName, byGroup,
				},
			},
			{Name: proto.String("Rule"), Field: []*descriptorpb.FieldDescriptorProto{field("rule_name", 1, text, "", one), field("percent", 2, number, "", one)}},
		},
	}
}

func setOf(t *testing.T, files ...*descriptorpb.FileDescriptorProto) []byte {
	t.Helper()
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func flags(t *testing.T) *Set {
	t.Helper()
	s, err := Parse(setOf(t, flagsFile()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := flags(t)
	var names []string
	for _, m := range s.Messages() {
		names = append(names, m.Name)
	}
	if strings.Join(names, " ") != "acme.flags.v1.Flag acme.flags.v1.Rule" || !s.Has("acme.flags.v1.Rule") || s.Has("acme.flags.v1.Nothing") || s.Has("") {
		t.Errorf("it defines %v", names)
	}
	lost := flagsFile()
	lost.Dependency = append(lost.Dependency, "acme/gone.proto")
	unfit := flagsFile()
	unfit.MessageType[0].Field[1].TypeName = proto.String(".acme.flags.v1.Nothing")
	for name, test := range map[string]struct {
		set  []byte
		want string
	}{
		"nothing":       {nil, "0 files"},
		"another thing": {[]byte("syntax"), "no FileDescriptorSet"},
		"too large":     {make([]byte, MaxSet+1), "524288"},
		"an import":     {setOf(t, lost), `imports "acme/gone.proto", which is not in it`},
		"a type":        {setOf(t, unfit), "do not fit together"},
		"twice":         {setOf(t, flagsFile(), flagsFile()), "twice"},
		"no message":    {setOf(t, &descriptorpb.FileDescriptorProto{Name: proto.String("a.proto")}), "defines no message"},
	} {
		if _, err := Parse(test.set); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	s := flags(t)
	lists := []model.ListKey{{Path: "rules", Key: "ruleName"}}
	for _, test := range []struct{ name, in, want, path, err string }{
		{name: "one spelling", in: `{"max_age":"60s","rules":[{"rule_name":"a","percent":5}]}`, want: `{"maxAge":"60s","rules":[{"percent":5,"ruleName":"a"}]}`},
		{name: "defaults and nulls are said on purpose", in: `{"enabled":false,"maxAge":null,"rules":[]}`, want: `{"enabled":false,"maxAge":null,"rules":[]}`},
		{name: "an item that is taken away", in: `{"rules":[{"ruleName":"a","$patch":"delete"}]}`, want: `{"rules":[{"$patch":"delete","ruleName":"a"}]}`},
		{name: "a message inside an Any", in: `{"extra":{"@type":"type.googleapis.com/acme.flags.v1.Rule","rule_name":"x"}}`, want: `{"extra":{"@type":"type.googleapis.com/acme.flags.v1.Rule","ruleName":"x"}}`},
		{name: "one with a form of its own", in: `{"extra":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}}`, want: `{"extra":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}}`},
		{name: "no such field", in: `{"rules":[{"percnt":5}]}`, path: "rules[0].percnt", err: "ruleName, percent"},
		{name: "two spellings", in: `{"maxAge":"1s","max_age":"2s"}`, path: "maxAge", err: "given twice"},
		{name: "another type", in: `{"rules":[{},{"percent":"many"}]}`, path: "rules[1].percent", err: "invalid value"},
		{name: "no list", in: `{"rules":{}}`, path: "rules", err: "want a list"},
		{name: "no duration", in: `{"maxAge":"soon"}`, path: "maxAge", err: "Duration"},
		{name: "a type that is not known", in: `{"extra":{"@type":"type.googleapis.com/acme.Gone"}}`, path: "extra.@type", err: "not known"},
		{name: "two of one oneof", in: `{"userName":"a","userGroup":"b"}`, err: "oneof"},
		{name: "the word for taking away elsewhere", in: `{"$patch":"delete"}`, path: "$patch", err: "no such field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := s.Normalize("acme.flags.v1.Flag", json.RawMessage(test.in), lists)
			if test.err != "" {
				at, ok := errors.AsType[*model.JSONError](err)
				if !ok || at.Path != test.path || !strings.Contains(at.Message, test.err) || strings.Contains(at.Message, "line") {
					t.Fatalf("got %v, want %q at %q", err, test.err, test.path)
				}
				return
			}
			if err != nil || string(got) != test.want {
				t.Fatalf("got %s, %v; want %s", got, err, test.want)
			}
			if again, err := s.Normalize("acme.flags.v1.Flag", got, lists); err != nil || string(again) != string(got) {
				t.Errorf("once more it is %s, %v", again, err)
			}
		})
	}
}

func TestMarshal(t *testing.T) {
	s := flags(t)
	bytes, err := s.Marshal("acme.flags.v1.Flag", json.RawMessage(`{"enabled":true,"rules":[{"percent":5,"ruleName":"a"}]}`))
	if want := "\x08\x01\x12\x05\x0a\x01a\x10\x05"; err != nil || string(bytes) != want {
		t.Errorf("got %q, %v", bytes, err)
	}
	if _, err := s.Marshal("acme.flags.v1.Flag", json.RawMessage(`{"rules":[{"$patch":"delete"}]}`)); err == nil {
		t.Error("what is only said to the merge was taken")
	}
	// Envoy's are linked, and obey their own rules.
	bytes, err = Linked().Marshal("envoy.config.cluster.v3.Cluster", json.RawMessage(`{"name":"a","connectTimeout":"5s"}`))
	var cluster clusterv3.Cluster
	if err != nil || proto.Unmarshal(bytes, &cluster) != nil || cluster.GetName() != "a" || cluster.GetConnectTimeout().GetSeconds() != 5 {
		t.Errorf("got %v, %v", &cluster, err)
	}
	if _, err := Linked().Marshal("envoy.config.cluster.v3.Cluster", json.RawMessage(`{"connectTimeout":"5s"}`)); err == nil || !strings.Contains(err.Error(), "Name") {
		t.Errorf("a cluster without a name: %v", err)
	}
	// A message of protobuf's own stands as in an Any.
	if bytes, err = Linked().Marshal("google.protobuf.StringValue", json.RawMessage(`{"value":"x"}`)); err != nil || string(bytes) != "\x0a\x01x" {
		t.Errorf("got %q, %v", bytes, err)
	}
}

// Each collection of Envoy's holds a message that is linked, which has the name where it is said to be.
func TestEnvoysResourcesAreLinked(t *testing.T) {
	for _, collection := range []string{"envoy/listeners", "envoy/routes", "envoy/clusters", "envoy/endpoints", "envoy/secrets", "envoy/extensions"} {
		mt, err := Linked().find(model.EnvoyType(collection))
		if err != nil {
			t.Errorf("%s: %v", collection, err)
			continue
		}
		fd := mt.Descriptor().Fields().ByJSONName(model.EnvoyNameMember(collection))
		if fd == nil || fd.Kind() != protoreflect.StringKind || string(fd.Name()) != model.EnvoyNameMemberInProto(collection) {
			t.Errorf("%s: its name is not in %s", collection, model.EnvoyNameMember(collection))
		}
	}
}

// What Envoy holds to be sensitive is found wherever it stands in the message, and nothing else is.
func TestInlineSecrets(t *testing.T) {
	const secret, listener = "envoy.extensions.transport_sockets.tls.v3.Secret", "envoy.config.listener.v3.Listener"
	for name, tc := range map[string]struct {
		message, fields string
		want            []string
	}{
		"a private key":    {secret, `{"tlsCertificate":{"certificateChain":{"inlineString":"public"},"privateKey":{"inlineString":"k"}}}`, []string{"tlsCertificate.privateKey.inlineString"}},
		"in bytes":         {secret, `{"tlsCertificate":{"privateKey":{"inlineBytes":"aw=="},"password":{"inlineString":"p"}}}`, []string{"tlsCertificate.password.inlineString", "tlsCertificate.privateKey.inlineBytes"}},
		"ticket keys":      {secret, `{"sessionTicketKeys":{"keys":[{"filename":"/a"},{"inlineBytes":"aw=="}]}}`, []string{"sessionTicketKeys.keys[1].inlineBytes"}},
		"a generic secret": {secret, `{"genericSecret":{"secret":{"inlineString":"k"}}}`, []string{"genericSecret.secret.inlineString"}},
		"several of them":  {secret, `{"genericSecret":{"secrets":{"a":{"inlineString":"k"}}}}`, []string{"genericSecret.secrets.a.inlineString"}},
		"in files":         {secret, `{"tlsCertificate":{"certificateChain":{"inlineString":"public"},"privateKey":{"filename":"/k"}}}`, nil},
		"in a variable":    {secret, `{"genericSecret":{"secret":{"environmentVariable":"K"}}}`, nil},
		"taken away":       {secret, `{"tlsCertificate":{"privateKey":null,"password":{"inlineString":null}}}`, nil},
		"authorities":      {secret, `{"validationContext":{"trustedCa":{"inlineString":"public"}}}`, nil},
		"in a listener": {listener, `{"filterChains":[{"transportSocket":{"name":"tls","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
			"commonTlsContext":{"tlsCertificates":[{"privateKey":{"inlineString":"k"}}]}}}}]}`, []string{"filterChains[0].transportSocket.typedConfig.commonTlsContext.tlsCertificates[0].privateKey.inlineString"}},
		"no such message": {"acme.None", `{}`, nil},
	} {
		if got := Linked().InlineSecrets(tc.message, json.RawMessage(tc.fields), nil); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestCheckLists(t *testing.T) {
	s := flags(t)
	for path, want := range map[string]string{"rules by ruleName": "", "rules by percent": "a string or a boolean", "rules by rule_name": "no field rule_name", "enabled by x": "no message", "rule by x": "no field rule", "maxAge by seconds": "no list", "rules.x by y": "[]"} {
		p, key, _ := strings.Cut(path, " by ")
		err := s.CheckLists("acme.flags.v1.Flag", []model.ListKey{{Path: p, Key: key}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// A set that would take gigabytes to keep is refused before anything is made of it.
func TestParseBoundsNames(t *testing.T) {
	long := &descriptorpb.FileDescriptorProto{Name: proto.String("long.proto"), Package: proto.String(strings.Repeat("x", 200<<10))}
	for i := range 20_000 {
		long.MessageType = append(long.MessageType, &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprintf("M%d", i))})
	}
	deep := &descriptorpb.FileDescriptorProto{Name: proto.String("deep.proto")}
	for range 40 {
		m := &descriptorpb.DescriptorProto{Name: proto.String("M"), NestedType: deep.MessageType}
		deep.MessageType = []*descriptorpb.DescriptorProto{m}
	}
	for want, file := range map[string]*descriptorpb.FileDescriptorProto{"full names": long, "deep": deep} {
		raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.200v", want, err)
		}
	}
}

// Sets and messages come from strangers.
func FuzzParse(f *testing.F) {
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{flagsFile()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, `{"enabled":true,"rules":[{"rule_name":"a"}]}`)
	f.Add([]byte{}, `{}`)
	f.Fuzz(func(t *testing.T, raw []byte, fields string) {
		s, err := Parse(raw)
		if err != nil {
			return
		}
		for _, m := range s.Messages() {
			normal, err := s.Normalize(m.Name, json.RawMessage(fields), nil)
			if err != nil {
				continue
			}
			again, err := s.Normalize(m.Name, normal, nil)
			if err != nil || string(again) != string(normal) {
				t.Fatalf("%s is %s, and then %s, %v", m.Name, normal, again, err)
			}
		}
	})
}
