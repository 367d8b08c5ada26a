package processor

import (
	"bytes"
	"encoding/json"
)

// stepFields are the top-level members of a message body that the host looks
// at. The rest of the body is the handler's business.
type stepFields struct {
	step string
	// notAName is what the step's name is instead of a string, or "". Whoever wrote
	// it meant a step, so it is not taken for a message that names none.
	notAName      string
	taskUUID      string
	stepUUID      string
	correlationID string
}

// maxID is the longest id, in bytes, that is passed on. The ids travel beside the
// body, to the plugin and in the result: a giant that calls itself an id would
// be carried twice, past all limits.
const maxID = 1024

// parseFields reads the top-level members of body in one pass without
// decoding the rest. ok is false when body is not a JSON object. Bodies come
// from jsonb, so they are valid JSON; on anything else parseFields may answer
// anything but never panics.
func parseFields(body []byte, stepKey string) (fields stepFields, ok bool) {
	s := scanner{data: body}
	if !s.consume('{') {
		return fields, false
	}
	if s.consume('}') {
		return fields, true
	}
	for {
		key, valid := s.str()
		if !valid || !s.consume(':') {
			return fields, false
		}
		value, valid := s.value()
		if !valid {
			return fields, false
		}
		// The step key may be one of the others, so this is no switch.
		if string(key) == stepKey {
			fields.step, fields.notAName = text(value), notAName(value)
		}
		switch string(key) {
		case "task_uuid":
			fields.taskUUID = id(value)
		case "step_uuid":
			fields.stepUUID = id(value)
		case "correlation_id":
			fields.correlationID = id(value)
		}
		if s.consume(',') {
			continue
		}
		return fields, s.consume('}')
	}
}

// id returns an id's value, or "" for what is none: ids are strings, and short.
func id(value []byte) string {
	if len(value) > maxID {
		return ""
	}
	return text(value)
}

// notAName says what a value is that names no step although it should: null
// names none on purpose.
func notAName(value []byte) string {
	if kind := kindOf(value); kind != "a string" && kind != "null" {
		return kind
	}
	return ""
}

// kindOf names the kind of a JSON value, by how it begins.
func kindOf(value []byte) string {
	s := scanner{data: value}
	s.space()
	if s.pos == len(value) {
		return "nothing"
	}
	switch value[s.pos] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// oneValue tells whether data cannot be more than one JSON value: its brackets
// are balanced and no comma is outside of them. Whatever else may be wrong with
// it the database finds; but what is more than one value would be taken for
// members of what it is put into.
func oneValue(data []byte) bool {
	depth := 0
	for s := (scanner{data: data}); s.pos < len(data); {
		switch data[s.pos] {
		case '"':
			if _, ok := s.str(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
		case ',':
			if depth == 0 {
				return false
			}
		}
		s.pos++
	}
	return depth == 0
}

// text returns a JSON string's value, or "" for any other kind of value.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	inner := value[1 : len(value)-1]
	for _, c := range inner {
		if c == '\\' {
			var decoded string
			if json.Unmarshal(value, &decoded) != nil {
				return ""
			}
			return decoded
		}
	}
	return string(inner)
}

// scanner walks over JSON text without allocating.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) consume(c byte) bool {
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// str returns the raw text between the quotes.
func (s *scanner) str() ([]byte, bool) {
	if !s.consume('"') {
		return nil, false
	}
	start := s.pos
	for near := s.pos + nearby; s.pos < len(s.data); {
		if s.pos >= near {
			s.leap()
			near = s.pos + nearby
			continue
		}
		switch s.data[s.pos] {
		case '\\':
			s.pos += 2
		case '"':
			s.pos++
			return s.data[start : s.pos-1], true
		default:
			s.pos++
		}
	}
	return nil, false
}

const (
	// nearby is how long a text is, in bytes, for which a leap is not worth while.
	nearby = 16
	// farthest bounds a leap, so that a text full of escapes is not searched to its
	// end after each.
	farthest = 512
)

// leap moves to the next quote or backslash, or part of the way.
func (s *scanner) leap() {
	ahead := s.data[s.pos:min(s.pos+farthest, len(s.data))]
	for _, c := range [...]byte{'"', '\\'} {
		if at := bytes.IndexByte(ahead, c); at >= 0 {
			ahead = ahead[:at]
		}
	}
	s.pos += len(ahead)
}

// value returns the raw text of any value, quotes and brackets included.
func (s *scanner) value() ([]byte, bool) {
	s.space()
	start := s.pos
	for depth := 0; s.pos < len(s.data); {
		switch s.data[s.pos] {
		case '"':
			if _, ok := s.str(); !ok {
				return nil, false
			}
		case '{', '[':
			depth++
			s.pos++
			continue
		case '}', ']':
			if depth == 0 {
				return s.data[start:s.pos], s.pos > start
			}
			depth--
			s.pos++
		case ',':
			if depth == 0 {
				return s.data[start:s.pos], s.pos > start
			}
			s.pos++
			continue
		default:
			s.pos++
			continue
		}
		if depth == 0 {
			return s.data[start:s.pos], true
		}
	}
	return nil, false
}
