package sdktest

import (
	"strings"
	"sync"
)

// logWriter passes log lines on to the test. A goroutine that a handler left
// behind may log after the test has ended, which package testing forbids.
type logWriter struct {
	t TB

	mu    sync.Mutex
	ended bool
}

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.t.Logf("%s", strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}
