// Package asynclog lets a log that nobody reads slow nobody down. A terminal
// that is stopped with Ctrl-S, a pipe whose reader hangs and a full disk block
// or fail a write; what logs is often a lane or a supervisor that holds a lock.
// A [Writer] takes lines into a bounded buffer and one goroutine writes them.
// Lines that find no room are dropped, counted, and reported as soon as
// something can be written again.
//
// Invariants: Write never waits for the output and never fails; lines are whole
// and in order; what is buffered is bounded; after Close nothing more is written.
package asynclog

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Writer takes whole lines, as hclog writes them, and passes them on to another
// writer. It is safe for concurrent use.
type Writer struct {
	out    io.Writer
	limit  int
	report func(out io.Writer, dropped int)
	done   chan struct{}

	mu         sync.Mutex
	news       sync.Cond // of pending and closed
	pending    []byte
	unreported int
	dropped    uint64
	closed     bool
}

// New starts the writer. limit is how many bytes wait at most, beside as many
// that are being written. report writes, in the log's own form, that lines were
// dropped; it is called by the goroutine that writes.
func New(out io.Writer, limit int, report func(out io.Writer, dropped int)) *Writer {
	w := &Writer{out: out, limit: limit, report: report, done: make(chan struct{})}
	w.news.L = &w.mu
	go w.run()
	return w
}

// Write keeps a copy of the line, or drops it when there is no room or the
// writer is closed. It always returns len(line) and no error.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.pending)+len(line) > w.limit {
		w.dropped++
		w.unreported++
		return len(line), nil
	}
	w.pending = append(w.pending, line...)
	w.news.Signal()
	return len(line), nil
}

// Dropped is how many lines were dropped so far.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes what is waiting. The error says that this took longer than the
// time given; the goroutine then ends with the write that it is in.
func (w *Writer) Close(within time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.news.Signal()
	w.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("write the log: not done within %s", within)
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var spare []byte
	for {
		lines, dropped, more := w.next(spare)
		if !more {
			return
		}
		// A failed write, as on a full disk, loses its lines: there is nowhere
		// else to complain.
		if len(lines) > 0 {
			_, _ = w.out.Write(lines)
		}
		if dropped > 0 {
			w.report(w.out, dropped)
		}
		spare = lines[:0]
	}
}

// next waits for lines and leaves spare to be filled meanwhile. The dropped
// ones came after the lines.
func (w *Writer) next(spare []byte) (lines []byte, dropped int, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) == 0 && w.unreported == 0 && !w.closed {
		w.news.Wait()
	}
	lines, dropped = w.pending, w.unreported
	w.pending, w.unreported = spare, 0
	return lines, dropped, len(lines) > 0 || dropped > 0
}
