package processor

import "encoding/json"

// stepFields are the top-level members of a message body that the host looks
// at. The rest of the body is the handler's business.
type stepFields struct {
	step          string
	taskUUID      string
	stepUUID      string
	correlationID string
}

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
			fields.step = text(value)
		}
		switch string(key) {
		case "task_uuid":
			fields.taskUUID = text(value)
		case "step_uuid":
			fields.stepUUID = text(value)
		case "correlation_id":
			fields.correlationID = text(value)
		}
		if s.consume(',') {
			continue
		}
		return fields, s.consume('}')
	}
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
	for s.pos < len(s.data) {
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
