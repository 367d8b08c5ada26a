package supervisor

import (
	"encoding/json"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// write logs a line at the level and with the fields that it carries.
func (o *output) write(l line) {
	log := o.log
	if l.stdout {
		log = log.With("stream", "stdout")
	}
	if rec, ok := parseRecord(l.text); ok {
		log.Log(rec.level, rec.message, rec.fields...)
		return
	}
	if strings.TrimSpace(l.text) == "" {
		return
	}
	level := plainLevel(l.text)
	if !l.stdout {
		// A trace has no level of its own, and nothing follows it.
		o.inPanic = o.inPanic || isPanic(l.text)
		if o.inPanic {
			level = hclog.Error
		}
	}
	log.Log(level, l.text)
}

func isPanic(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
}

// plainLevel reads the prefixes that package log users write by custom.
func plainLevel(text string) hclog.Level {
	if end := strings.IndexByte(text, ']'); end > 1 && text[0] == '[' {
		if level := hclog.LevelFromString(text[1:end]); level != hclog.NoLevel && level != hclog.Off {
			return level
		}
	}
	return hclog.Info
}

// record is a structured log line.
type record struct {
	level   hclog.Level
	message string
	fields  []any
}

// parseRecord reads hclog's JSON, and that of slog, zap and logrus, which name
// the same things msg and level. Whatever does not fit is no record.
func parseRecord(text string) (record, bool) {
	if !strings.HasPrefix(text, "{") {
		return record{}, false
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		return record{}, false
	}
	rec := record{level: hclog.NoLevel}
	found := false
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return record{}, false
		}
		key, _ := token.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return record{}, false
		}
		if !rec.take(key, raw, &found) {
			return record{}, false
		}
	}
	if _, err := dec.Token(); err != nil || !found {
		return record{}, false
	}
	if rec.level == hclog.NoLevel {
		rec.level = hclog.Info
	}
	return rec, true
}

// take adds a member to the record; false means that it is not a log record.
func (rec *record) take(key string, raw json.RawMessage, found *bool) bool {
	var text string
	isText := json.Unmarshal(raw, &text) == nil && raw[0] == '"'
	switch key {
	case "@message", "msg", "message":
		rec.message = text
		*found = true
		return isText
	case "@level", "level":
		level := hclog.LevelFromString(text)
		switch strings.ToLower(text) {
		case "warning":
			level = hclog.Warn
		case "fatal", "panic", "dpanic", "critical":
			level = hclog.Error
		}
		if level != hclog.Off {
			rec.level = level
		}
		return isText
	case "@timestamp", "time", "ts", "timestamp":
		return true
	case "@module":
		key = "module"
	case "@caller":
		key = "caller"
	}
	if isText {
		rec.fields = append(rec.fields, key, text)
	} else {
		rec.fields = append(rec.fields, key, string(raw))
	}
	return true
}
