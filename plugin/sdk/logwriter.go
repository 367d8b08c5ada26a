package sdk

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// maxLogBuffer is how much of the log may wait for the host to read it.
const maxLogBuffer = 1 << 20

// logWriter stands between the plugin's loggers and stderr, which is a pipe to
// the host. If the host does not read, lines wait in a bounded buffer and are
// then dropped and counted, so that no handler ever hangs on a log line.
type logWriter struct {
	out io.Writer

	mu      sync.Mutex
	pending []byte
	dropped int
	writing bool
	changed *sync.Cond
}

func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: out}
	w.changed = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write takes one or more whole lines. It never blocks on the reader and never
// fails.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending)+len(line) > maxLogBuffer {
		w.dropped++
		return len(line), nil
	}
	w.pending = append(w.pending, line...)
	w.changed.Broadcast()
	return len(line), nil
}

// run writes what is pending. It lives as long as the process.
func (w *logWriter) run() {
	var chunk []byte
	for {
		w.mu.Lock()
		w.writing = false
		w.changed.Broadcast()
		for len(w.pending) == 0 {
			w.changed.Wait()
		}
		chunk, w.pending = w.pending, chunk[:0]
		dropped := w.dropped
		w.dropped = 0
		w.writing = true
		w.mu.Unlock()

		if dropped > 0 {
			chunk = append(chunk, droppedLine(dropped)...)
		}
		// stderr is gone only when the host is, and then so is this process.
		_, _ = w.out.Write(chunk)
	}
}

// flush waits until everything is written, or the timeout has passed.
func (w *logWriter) flush(timeout time.Duration) {
	expired := false
	timer := time.AfterFunc(timeout, func() {
		w.mu.Lock()
		expired = true
		w.changed.Broadcast()
		w.mu.Unlock()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for (len(w.pending) > 0 || w.writing) && !expired {
		w.changed.Wait()
	}
}

// droppedLine reports lost lines in the form that the loggers use.
func droppedLine(n int) []byte {
	line, err := json.Marshal(map[string]any{
		"@level":     "warn",
		"@message":   "log lines dropped: the host did not read stderr",
		"@timestamp": time.Now().Format("2006-01-02T15:04:05.000000Z07:00"),
		"lines":      n,
	})
	if err != nil {
		return nil
	}
	return append(line, '\n')
}
