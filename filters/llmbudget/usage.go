package main

import "encoding/json"

// usage is how many tokens were used.
type usage struct{ prompt, completion int64 }

// message is what of a service's JSON matters: of a whole response, or of one event of a stream.
type message struct {
	// Usage is how chat completions, completions and embeddings say it.
	Usage *usageJSON `json:"usage"`
	// Response is the response in an event of the responses API.
	Response *struct {
		Usage *usageJSON `json:"usage"`
	} `json:"response"`
	// Choices and Delta are the text, by which an estimate goes.
	Choices []struct {
		Text    string   `json:"text"`
		Message textJSON `json:"message"`
		Delta   textJSON `json:"delta"`
	} `json:"choices"`
	Delta json.RawMessage `json:"delta"` // a string in the responses API
}

type textJSON struct {
	Content   json.RawMessage `json:"content"`
	Reasoning string          `json:"reasoning_content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

// usageJSON has both APIs' names.
type usageJSON struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
}

// tokens is the usage that is said, if it makes sense: nobody gets tokens back.
func (u *usageJSON) tokens() (usage, bool) {
	if u == nil || min(u.Prompt, u.Completion, u.Input, u.Output) < 0 {
		return usage{}, false
	}
	t := usage{prompt: max(u.Prompt, u.Input), completion: max(u.Completion, u.Output)}
	return t, t != usage{}
}

// read reads JSON. text is how many bytes of text it brings.
func read(data []byte) (u usage, said bool, text int64) {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return usage{}, false, 0
	}
	if u, said = m.Usage.tokens(); !said && m.Response != nil {
		u, said = m.Response.Usage.tokens()
	}
	for _, c := range m.Choices {
		text += int64(len(c.Text)) + c.Message.size() + c.Delta.size()
	}
	if len(m.Delta) > 0 && m.Delta[0] == '"' {
		text += size(m.Delta)
	}
	return u, said, text
}

func (t *textJSON) size() int64 { return size(t.Content) + int64(len(t.Reasoning)) + size(t.ToolCalls) }

// size is about how many bytes a value's text has.
func size(raw json.RawMessage) int64 {
	if len(raw) < 2 || string(raw) == "null" {
		return 0
	}
	return int64(len(raw)) - 2 // without quotes or brackets
}
