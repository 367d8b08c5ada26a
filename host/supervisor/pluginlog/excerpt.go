package pluginlog

import (
	"fmt"
	"strings"
	"sync"
)

// TailLines is how many of the last lines of stderr reports show.
const TailLines = 50

const (
	// Where a trace began further up, reports show its head and fewer of the
	// last lines.
	headLines  = 50
	shortTail  = 20
	reportLine = 2 << 10
)

// excerpt is what is kept of stderr for reports.
type excerpt struct {
	mu sync.Mutex
	// seen counts all lines; tail has the last of them.
	seen int
	tail []string
	// head has the first lines of the trace that is being written, which began
	// after start lines.
	head  []string
	start int
}

func (e *excerpt) add(text string, in traceLine) {
	text = cut(text, reportLine)
	e.mu.Lock()
	defer e.mu.Unlock()
	// Lines from elsewhere among those of the trace are kept where they are.
	switch {
	case in == traceBegins:
		e.head, e.start = append(e.head[:0], text), e.seen
	case in == traceNone:
		e.head = e.head[:0]
	case len(e.head) > 0 && len(e.head) < headLines:
		e.head = append(e.head, text)
	}
	if len(e.tail) == TailLines {
		copy(e.tail, e.tail[1:])
		e.tail = e.tail[:TailLines-1]
	}
	e.tail = append(e.tail, text)
	e.seen++
}

// lines are the last ones, with the head of the trace that they belong to.
func (e *excerpt) lines() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := e.seen - len(e.tail)
	if len(e.head) == 0 || e.start >= first {
		return append([]string(nil), e.tail...)
	}
	tail, headEnd := e.tail, e.start+len(e.head)
	if headEnd < first {
		tail = tail[len(tail)-shortTail:]
		first = e.seen - shortTail
	}
	all := append([]string(nil), e.head...)
	if gap := first - headEnd; gap > 0 {
		all = append(all, fmt.Sprintf("[… %d lines …]", gap))
	} else {
		tail = tail[-gap:]
	}
	return append(all, tail...)
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
