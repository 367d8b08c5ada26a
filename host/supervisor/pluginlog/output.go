package pluginlog

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// MaxLine is how much of one line is kept, in bytes.
const MaxLine = 16 << 10

const (
	// What may wait for a slow log: so many lines and bytes, and more where
	// they are errors.
	pendingLines, pendingBytes             = 512, 2 << 20
	pendingSevereLines, pendingSevereBytes = 8192, 8 << 20
)

// Stream is where a line was written.
type Stream bool

// The streams.
const (
	Stderr Stream = false
	Stdout Stream = true
)

// Output takes what one process writes. Its owner calls Close.
type Output struct {
	log     hclog.Logger
	flood   *Flood
	excerpt excerpt
	readers sync.WaitGroup

	mu      sync.Mutex
	pending []line
	bytes   int
	closed  bool
	// wake has room for one signal: there is something to log, or the end.
	wake   chan struct{}
	logged chan struct{}
}

// New starts the goroutine that logs. flood is shared by the processes of a
// plugin.
func New(log hclog.Logger, flood *Flood) *Output {
	o := &Output{log: log, flood: flood, wake: make(chan struct{}, 1), logged: make(chan struct{})}
	go o.run()
	return o
}

// SetLogger replaces the logger. It must be called before anything is read.
func (o *Output) SetLogger(log hclog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log = log
}

// Read takes lines from r, in a goroutine, until r ends. first, if not nil,
// reads from it before that.
func (o *Output) Read(r io.Reader, stream Stream, first func(*bufio.Reader)) {
	o.readers.Go(func() {
		buffered := bufio.NewReaderSize(r, MaxLine)
		if first != nil {
			first(buffered)
		}
		o.drain(buffered, stream)
	})
}

func (o *Output) drain(r *bufio.Reader, stream Stream) {
	c := &classifier{stdout: stream == Stdout}
	for {
		raw, more, err := r.ReadLine()
		if err != nil {
			return
		}
		text := string(raw)
		// The rest of a line that is too long is thrown away.
		for cut := false; more && err == nil; cut = true {
			if !cut {
				text += "…"
			}
			_, more, err = r.ReadLine()
		}
		o.add(c, text)
	}
}

func (o *Output) add(c *classifier, text string) {
	if o.flood.full(len(text)) && c.hopeless(text) {
		if !c.stdout {
			o.excerpt.add(text, traceNone)
		}
		o.drop()
		return
	}
	l, in := c.classify(text)
	if !c.stdout {
		o.excerpt.add(text, in)
	}
	if !o.flood.admit(severe(l.level), l.size) || !o.push(l) {
		o.drop()
	}
}

// push queues a line if there is room for its like.
func (o *Output) push(l line) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines, bytes := pendingLines, pendingBytes
	if severe(l.level) {
		lines, bytes = pendingSevereLines, pendingSevereBytes
	}
	if len(o.pending) >= lines || o.bytes+l.size > bytes {
		return false
	}
	o.pending = append(o.pending, l)
	o.bytes += l.size
	o.signal()
	return true
}

func (o *Output) drop() {
	if o.flood.drop() {
		o.signal()
	}
}

func (o *Output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run logs until the output is closed and empty.
func (o *Output) run() {
	defer close(o.logged)
	report := time.NewTimer(0)
	defer report.Stop()
	for {
		select {
		case <-o.wake:
		case <-report.C:
		}
		lines, log, closed := o.take()
		for _, l := range lines {
			l.write(log)
		}
		dropped, again := o.flood.report(closed)
		if dropped > 0 {
			log.Warn("plugin writes more than the log takes, lines were dropped", "dropped", dropped)
		}
		if closed {
			return
		}
		if again > 0 {
			report.Reset(again)
		}
	}
}

// take returns what waits. Once closed, nothing more comes.
func (o *Output) take() (lines []line, log hclog.Logger, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines, o.pending, o.bytes = o.pending, nil, 0
	return lines, o.log, o.closed
}

// Last returns the last lines of stderr, for reports: at most 50, and where
// they belong to a trace that began before them its first 50 and the last 20.
func (o *Output) Last() []string { return o.excerpt.lines() }

// Close waits for the readers, whose pipes must have ended or have a deadline,
// and for the log.
func (o *Output) Close() {
	o.readers.Wait()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
	<-o.logged
}

// Writer takes chunks that are not lines, such as go-plugin carries over its
// connection when a Go plugin prints to os.Stdout or os.Stderr after the
// handshake. Close it before the output.
func (o *Output) Writer(stream Stream) io.WriteCloser {
	r, w := io.Pipe()
	o.Read(r, stream, nil)
	return &chunkWriter{pipe: w}
}

type chunkWriter struct{ pipe *io.PipeWriter }

// Write does not fail after Close, since go-plugin would log that.
func (w *chunkWriter) Write(p []byte) (int, error) {
	if _, err := w.pipe.Write(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	return len(p), nil
}

func (w *chunkWriter) Close() error { return w.pipe.Close() }
