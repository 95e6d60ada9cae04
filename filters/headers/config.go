package main

// Config is the configuration of the filter headers.
type Config struct {
	// Request lists changes to the headers of requests. They are applied in order, and each sees what those before it did.
	Request []Mutation `json:"request,omitempty" maxItems:"256"`
	// Response lists changes to the headers of responses, local replies of Envoy and of later filters included.
	Response []Mutation `json:"response,omitempty" maxItems:"256"`
}

// Mutation is one change of one header.
type Mutation struct {
	// Op is what to do. add: add the header with this value unless it is there already. set: give it this value in place of
	// all that it has. append: add this value behind those that it has. remove: take it away with all its values. rename:
	// move its values to the header named by to, in place of those that one has.
	Op string `json:"op" enum:"add,set,append,remove,rename"`
	// Name is the name of the header, in any case. Request mutations with op set may name :path, :authority, :method and
	// :scheme.
	Name string `json:"name" minLength:"1" maxLength:"256"`
	// Value is the value for add, set and append: text with %COMMANDS%, as in Envoy's access log formats. %REQ(name)% is a
	// header of the request, %RESP(name)% of the response, %PROP(path)% a property of Envoy's, %% a percent sign.
	Value string `json:"value,omitempty"`
	// To is the new name for rename.
	To string `json:"to,omitempty" maxLength:"256"`
	// KeepEmpty keeps a header whose value comes out empty. Otherwise add and append then do nothing, and set removes the
	// header (a pseudo-header it leaves as it was).
	KeepEmpty bool `json:"keepEmpty,omitempty"`
	// When are the conditions of the change; all must hold. Without any, it is always made.
	When When `json:"when,omitzero"`
}

// When are conditions, all of which must hold.
type When struct {
	// Path matches the path of the request, without its query.
	Path PathMatch `json:"path,omitzero"`
	// Headers match headers of the message.
	Headers []HeaderMatch `json:"headers,omitempty"`
}

// PathMatch matches a path in exactly one way.
type PathMatch struct {
	// Exact is the whole path.
	Exact string `json:"exact,omitempty"`
	// Prefix is how the path begins.
	Prefix string `json:"prefix,omitempty"`
	// Suffix is how the path ends.
	Suffix string `json:"suffix,omitempty"`
	// Regex is a regular expression (RE2) for the whole path.
	Regex string `json:"regex,omitempty"`
}

// HeaderMatch matches a header in exactly one way. A header with several values matches when one of them does.
type HeaderMatch struct {
	// Name is the name of the header.
	Name string `json:"name" minLength:"1" maxLength:"256"`
	// From is the message whose header is meant. In response mutations it defaults to response; in request mutations only
	// request makes sense.
	From string `json:"from,omitempty" enum:"request,response"`
	// Present matches when the header is there.
	Present bool `json:"present,omitempty"`
	// Absent matches when the header is not there.
	Absent bool `json:"absent,omitempty"`
	// Exact is the whole value.
	Exact string `json:"exact,omitempty"`
	// Prefix is how the value begins.
	Prefix string `json:"prefix,omitempty"`
	// Regex is a regular expression (RE2) for the whole value.
	Regex string `json:"regex,omitempty"`
}
