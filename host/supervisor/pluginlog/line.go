package pluginlog

import (
	"strings"

	"github.com/hashicorp/go-hclog"
)

// line is a line on its way to the log.
type line struct {
	record
	stdout bool
	size   int
}

// classifier reads the lines of one stream.
type classifier struct {
	stdout bool
	trace  trace
}

// classify says what a line is.
func (c *classifier) classify(text string) (line, traceLine) {
	l := line{stdout: c.stdout, size: len(text)}
	if rec, ok := parseJSON(text); ok {
		l.record = rec
		return l, c.trace.other()
	}
	if rec, ok := parseLogfmt(text); ok {
		l.record = rec
		return l, c.trace.other()
	}
	if rec, ok := parseZap(text); ok {
		l.record = rec
		if c.trace.kind == traceGoStack {
			// The stack of the line before has ended.
			c.trace.kind = traceIdle
		}
		in := c.trace.other()
		c.trace.stackFollows(rec.level)
		return l, in
	}
	l.message = text
	if level, ok := textLevel(text); ok && !IsPanic(text) && !isException(text) {
		l.level = level
		return l, c.trace.other()
	}
	in := c.trace.next(text)
	l.level = hclog.Info
	if in == traceBegins || in == traceGoesOn {
		l.level = c.trace.level
	}
	return l, in
}

// hopeless is whether a line need not be looked at when ordinary lines are
// dropped.
func (c *classifier) hopeless(text string) bool {
	if c.trace.kind != traceIdle || isFrame(text) {
		return false
	}
	head := strings.ToLower(text[:min(len(text), levelWithin)])
	for _, hint := range []string{"err", "fatal", "panic", "crit", "severe", "alert", "emerg", "exception", "traceback", "goroutine", `"level":50`, `"level":60`} {
		if strings.Contains(head, hint) {
			return false
		}
	}
	return true
}

// write logs the line.
func (l line) write(log hclog.Logger) {
	if strings.TrimSpace(l.message) == "" && len(l.fields) == 0 {
		return
	}
	fields := l.fields
	if l.stdout {
		fields = append([]any{"stream", "stdout"}, fields...)
	}
	log.Log(l.level, escaped(l.message), fields...)
}
