package pluginlog

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// parseLogfmt reads key=value pairs, as slog's text handler and logrus write
// them. All of the line must be pairs, a level and a message among them.
func parseLogfmt(text string) (record, bool) {
	if !strings.Contains(text, "=") || !strings.Contains(text, "msg=") && !strings.Contains(text, "message=") {
		return record{}, false
	}
	var members []member
	hasLevel := false
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimLeft(rest, " ") {
		var key, value string
		var ok bool
		if key, rest, ok = logfmtKey(rest); !ok {
			return record{}, false
		}
		if value, rest, ok = logfmtValue(rest); !ok {
			return record{}, false
		}
		hasLevel = hasLevel || key == "level" || key == "lvl" || key == "severity"
		members = append(members, member{key, value})
	}
	if !hasLevel {
		return record{}, false
	}
	return newRecord(members)
}

func logfmtKey(text string) (key, rest string, ok bool) {
	if text[0] == '"' {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", false
		}
		key, _ = strconv.Unquote(quoted)
		rest, ok = strings.CutPrefix(text[len(quoted):], "=")
		return key, rest, ok
	}
	key, rest, ok = strings.Cut(text, "=")
	return key, rest, ok && key != "" && !strings.ContainsAny(key, " \"\t")
}

func logfmtValue(text string) (value, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", false
		}
		value, err = strconv.Unquote(quoted)
		rest = text[len(quoted):]
		return value, rest, err == nil && (rest == "" || rest[0] == ' ')
	}
	value, rest, _ = strings.Cut(text, " ")
	return value, rest, true
}

var (
	zapTime   = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\S+|[\d.]+(e[+]?\d+)?)$`)
	zapCaller = regexp.MustCompile(`\.go:\d+$`)
)

// parseZap reads zap's console form: time, level, name, caller and message
// with tabs between them, and the fields as JSON at the end. Name, caller and
// fields may be missing.
func parseZap(text string) (record, bool) {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return record{}, false
	}
	parts := strings.Split(text, "\t")
	if len(parts) < 3 || !zapTime.MatchString(parts[0]) {
		return record{}, false
	}
	level, ok := wordLevel(colour.ReplaceAllString(parts[1], ""))
	if !ok {
		return record{}, false
	}
	rec := record{level: level}
	parts = parts[2:]
	var fields []any
	if last := parts[len(parts)-1]; len(parts) > 1 && strings.HasPrefix(last, "{") && json.Valid([]byte(last)) {
		object, _ := parseJSON(`{"@message":"",` + last[1:])
		fields, parts = object.fields, parts[:len(parts)-1]
	}
	for n, part := range parts[:len(parts)-1] {
		switch {
		case zapCaller.MatchString(part):
			rec.fields = append(rec.fields, "caller", part)
		case n == 0:
			rec.fields = append(rec.fields, "module", part)
		default:
			rec.message += part + "\t"
		}
	}
	rec.message += parts[len(parts)-1]
	rec.fields = append(rec.fields, fields...)
	return rec, true
}

// escaped keeps control characters of a message from forging lines or
// commanding a terminal.
func escaped(text string) string {
	isControl := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isControl(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// severe is whether a level is preferred when lines must be dropped.
func severe(level hclog.Level) bool { return level >= hclog.Error }
