package pluginlog

import (
	"regexp"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// traceLine says what a line is to a stack trace.
type traceLine int

const (
	traceNone traceLine = iota
	traceBegins
	traceGoesOn
	// traceApart is a line of something else that does not end the trace:
	// several threads write to stderr.
	traceApart
)

// maxPanicMessage is how many lines of a panic's value come before its first
// goroutine.
const maxPanicMessage = 100

// trace follows the traces in a stream of lines.
type trace struct {
	kind    traceKind
	message int // lines of a panic's value so far
	level   hclog.Level
}

type traceKind int

const (
	traceIdle traceKind = iota
	traceGoMessage
	traceGoStack
	tracePython
)

var (
	goroutineLine = regexp.MustCompile(`^goroutine \d+.* \[`)
	// A function with its arguments or without, also where the end of the line
	// was lost, a place, a register.
	goStackLine   = regexp.MustCompile(`^(\s|$|created by |\[signal |\[originating |exit status |[a-z]\w{1,5}\s+0x|\.\.\.|-----|[\w./*()\[\]·\-,]+\.[^\s:]+(\(.*)?$)`)
	exceptionLine = regexp.MustCompile(`^(Uncaught |Unhandled |Exception in thread .* )?([\w$]+\.)*([A-Z]\w*)?(Error|Exception)(:| \[|$)`)
	frameLine     = regexp.MustCompile(`^(\s+at \S|Caused by: |\s*\.\.\. \d+ (more|common frames))`)
)

// Most lines are no trace's, and expressions are slow: what can be seen at a
// glance is looked at first.

func isGoroutine(text string) bool {
	return strings.HasPrefix(text, "goroutine ") && goroutineLine.MatchString(text)
}

func isException(text string) bool {
	head := text[:min(len(text), levelWithin)]
	return (strings.Contains(head, "Error") || strings.Contains(head, "Exception")) && exceptionLine.MatchString(text)
}

func isFrame(text string) bool {
	return text != "" && strings.IndexByte(" \tC.", text[0]) >= 0 && frameLine.MatchString(text)
}

// IsPanic recognises the first line of what a Go program writes when it dies.
func IsPanic(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
}

func isPython(text string) bool {
	return strings.HasPrefix(text, "Traceback (most recent call last):") ||
		strings.HasPrefix(text, "During handling of the above exception, another exception occurred:") ||
		strings.HasPrefix(text, "The above exception was the direct cause of the following exception:")
}

// next takes a line that has no level and no structure of its own.
func (t *trace) next(text string) traceLine {
	switch {
	case t.kind == traceGoMessage && isGoroutine(text):
		t.kind = traceGoStack
		return traceGoesOn
	case t.kind == traceGoMessage && t.message < maxPanicMessage:
		t.message++
		return traceGoesOn
	case t.kind == traceGoStack && (goStackLine.MatchString(text) || isGoroutine(text)):
		return traceGoesOn
	case t.kind == tracePython && (text == "" || text[0] == ' ' || text[0] == '\t'):
		return traceGoesOn
	case t.kind == tracePython && !isPython(text):
		// The exception itself comes last.
		t.kind = traceIdle
		return traceGoesOn
	case isFrame(text):
		t.level = hclog.Error
		return traceGoesOn
	case text == "":
		return traceApart
	}
	return t.begin(text)
}

func (t *trace) begin(text string) traceLine {
	t.message, t.level = 0, hclog.Error
	switch {
	case IsPanic(text), strings.HasPrefix(text, "runtime: goroutine stack exceeds"):
		t.kind = traceGoMessage
	case isGoroutine(text):
		t.kind = traceGoStack
	case isPython(text):
		t.kind = tracePython
	case isException(text):
		t.kind = traceIdle
	default:
		t.kind = traceIdle
		return traceNone
	}
	return traceBegins
}

// other takes a line with a level or structure of its own.
func (t *trace) other() traceLine {
	switch t.kind {
	case traceGoMessage, traceGoStack:
		return traceApart
	}
	t.kind = traceIdle
	return traceNone
}

// stackFollows is after a line to which zap may add a stack.
func (t *trace) stackFollows(level hclog.Level) {
	if t.kind == traceIdle && level >= hclog.Warn {
		t.kind, t.level = traceGoStack, level
	}
}
