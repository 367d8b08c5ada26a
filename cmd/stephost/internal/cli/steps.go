package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/processor"
)

// stepBacklog is how many lines may wait for the terminal. A slow terminal
// must not slow the steps down, so what comes beyond is counted and not shown.
const stepBacklog = 4096

// stepPrinter shows steps on a terminal. Its methods are safe for concurrent
// use.
type stepPrinter struct {
	out   io.Writer
	lines chan string
	done  chan struct{}

	mu      sync.Mutex
	skipped int
	closed  bool
}

func newStepPrinter(out io.Writer) *stepPrinter {
	p := &stepPrinter{out: out, lines: make(chan string, stepBacklog), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for line := range p.lines {
			// A terminal that is gone has nobody to tell.
			_, _ = io.WriteString(p.out, line)
		}
	}()
	return p
}

// close shows what waits and ends the printer.
func (p *stepPrinter) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.lines)
	}
	p.mu.Unlock()
	<-p.done
}

// observe is the host's step observer.
func (p *stepPrinter) observe(event host.StepEvent) { p.say(stepLine(event)) }

// say shows a text, unless too many wait.
func (p *stepPrinter) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.skipped > 0 {
		text = fmt.Sprintf("… %d lines were not shown, the terminal is slower than the steps\n", p.skipped) + text
	}
	select {
	case p.lines <- text:
		p.skipped = 0
	default:
		p.skipped++
	}
}

// stepLine is one moment of a step, like
//
//	12:01:02.123  orders/validate   #17 picked up    waited 1.2ms
//	12:01:02.125  orders/validate   #17 succeeded    in 2.1ms (handler 800µs)
func stepLine(e host.StepEvent) string {
	name := e.Namespace
	if e.Step != "" {
		name += "/" + e.Step
	}
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s  %-20s %6s ", time.Now().Format("15:04:05.000"), name, fmt.Sprintf("#%d", e.MessageID))
	if e.Kind == processor.StepPickedUp {
		_, _ = fmt.Fprintf(&b, "%-13s waited %s", "picked up", shortDuration(e.Waited))
	} else {
		_, _ = fmt.Fprintf(&b, "%-13s in %s (handler %s)", strings.ReplaceAll(string(e.Outcome), "_", " "), shortDuration(e.Total), shortDuration(e.Duration))
	}
	if e.Attempt > 1 {
		_, _ = fmt.Fprintf(&b, ", attempt %d", e.Attempt)
	}
	if e.Err != "" {
		b.WriteString(": " + shorten(strings.Join(strings.Fields(e.Err), " "), 160))
	}
	b.WriteString("\n")
	return b.String()
}
