package pluginlog

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// record is a line that says what it is.
type record struct {
	level   hclog.Level
	message string
	fields  []any
}

// member is a name with its value, as it is written.
type member struct {
	key   string
	value any // string or jsonValue
}

// jsonValue is a value in JSON that is no text: the host's log has it as it is.
type jsonValue string

// MarshalJSON returns the value.
func (v jsonValue) MarshalJSON() ([]byte, error) { return []byte(v), nil }

// The names under which log libraries write the same things, the more special
// before the more common.
func messageKeys() []string { return []string{"@message", "msg", "message", "event"} }
func levelKeys() []string {
	return []string{"@level", "level", "lvl", "severity", "levelname", "log.level"}
}
func timeKeys() []string {
	return []string{"@timestamp", "time", "ts", "timestamp", "asctime"}
}

// newRecord sorts members into a record. It is none where no member is a
// message.
func newRecord(members []member) (record, bool) {
	message, ok := take(&members, messageKeys())
	text, isText := message.(string)
	if !ok || !isText {
		return record{}, false
	}
	rec := record{level: hclog.Info, message: text}
	if level, ok := take(&members, levelKeys()); ok {
		rec.level = valueLevel(level)
	}
	_, _ = take(&members, timeKeys())
	for _, m := range members {
		rec.fields = append(rec.fields, fieldName(m.key), m.value)
	}
	return rec, true
}

// take removes the member with the first of the names that there is.
func take(members *[]member, keys []string) (any, bool) {
	for _, key := range keys {
		for n, m := range *members {
			if m.key == key {
				*members = slices.Delete(*members, n, n+1)
				return m.value, true
			}
		}
	}
	return nil, false
}

// fieldName keeps a plugin's field from taking the place of the host's.
func fieldName(key string) string {
	bare := strings.TrimPrefix(key, "@")
	switch bare {
	case "module", "caller":
		return bare
	case "plugin", "instance", "pid", "stream", "generation":
		return "plugin_" + bare
	}
	return key
}

// parseJSON reads an object with nothing behind it. Of one that was cut off it
// takes the members that are whole.
func parseJSON(text string) (record, bool) {
	if !strings.HasPrefix(text, "{") {
		return record{}, false
	}
	dec := json.NewDecoder(strings.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return record{}, false
	}
	var members []member
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return cutOff(members, text)
		}
		key, _ := token.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return cutOff(members, text)
		}
		members = append(members, member{key, jsonMember(raw)})
	}
	if _, err := dec.Token(); err != nil {
		return cutOff(members, text)
	}
	if strings.TrimSpace(text[dec.InputOffset():]) != "" {
		return record{}, false
	}
	return newRecord(members)
}

// cutOff is a record of which the end is missing. Without its message it is
// the text, if there is a level at least.
func cutOff(members []member, text string) (record, bool) {
	if rec, ok := newRecord(slices.Clone(members)); ok {
		return rec, true
	}
	level, ok := take(&members, levelKeys())
	return record{level: valueLevel(level), message: text}, ok
}

func jsonMember(raw json.RawMessage) any {
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return text
	}
	return jsonValue(raw)
}
