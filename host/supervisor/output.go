package supervisor

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

const (
	// maxLine is how much of one line is kept.
	maxLine = 16 << 10
	// maxPending bounds the lines between a plugin and a slow host log.
	maxPending = 512
	// tailLines and tailLine bound what reports show.
	tailLines = 50
	tailLine  = 2 << 10
)

// output takes what a process writes on stdout and stderr. Reading never waits
// for the log: lines that find the queue full are dropped and counted.
type output struct {
	log     hclog.Logger
	lines   chan line
	dropped atomic.Uint64
	total   *atomic.Uint64

	mu   sync.Mutex
	tail []string

	readers sync.WaitGroup
	logged  chan struct{}
	inPanic bool
}

type line struct {
	text   string
	stdout bool
}

// newOutput starts the goroutine that logs. total counts dropped lines.
func newOutput(log hclog.Logger, total *atomic.Uint64) *output {
	o := &output{log: log, lines: make(chan line, maxPending), total: total, logged: make(chan struct{})}
	go o.run()
	return o
}

// read takes lines from r in a goroutine until it ends.
func (o *output) read(r io.Reader, stdout bool) {
	o.readers.Go(func() { o.drain(bufio.NewReaderSize(r, maxLine), stdout) })
}

func (o *output) drain(r *bufio.Reader, stdout bool) {
	for {
		text, more, err := r.ReadLine()
		if err != nil {
			return
		}
		if o.add(string(text), stdout); !more {
			continue
		}
		// The rest of a line that is too long is thrown away.
		for more && err == nil {
			_, more, err = r.ReadLine()
		}
		o.drop()
	}
}

func (o *output) drop() {
	o.dropped.Add(1)
	o.total.Add(1)
}

func (o *output) add(text string, stdout bool) {
	if !stdout {
		o.mu.Lock()
		if len(o.tail) == tailLines {
			copy(o.tail, o.tail[1:])
			o.tail = o.tail[:tailLines-1]
		}
		o.tail = append(o.tail, cut(text, tailLine))
		o.mu.Unlock()
	}
	select {
	case o.lines <- line{text, stdout}:
	default:
		o.drop()
	}
}

// last returns the last lines of stderr.
func (o *output) last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.tail...)
}

// run logs until the queue is closed.
func (o *output) run() {
	defer close(o.logged)
	for l := range o.lines {
		o.write(l)
		if n := o.dropped.Swap(0); n > 0 {
			o.log.Warn("plugin writes more than the log takes; lines or parts of lines were dropped", "dropped", n)
		}
	}
}

// close waits for the readers, whose pipes must have ended or have a deadline,
// and for the log.
func (o *output) close() {
	o.readers.Wait()
	close(o.lines)
	<-o.logged
}

// syncWriter takes what go-plugin carries over the connection when a Go plugin
// prints to os.Stdout or os.Stderr after the handshake. Its chunks are not
// lines.
type syncWriter struct {
	pipe *io.PipeWriter
}

func (o *output) writer(stdout bool) *syncWriter {
	r, w := io.Pipe()
	o.read(r, stdout)
	return &syncWriter{pipe: w}
}

// Write never fails, since go-plugin would log that.
func (w *syncWriter) Write(p []byte) (int, error) {
	if _, err := w.pipe.Write(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	return len(p), nil
}

func (w *syncWriter) close() { _ = w.pipe.Close() }
