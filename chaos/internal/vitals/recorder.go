package vitals

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/stephost/stephost/chaos/internal/plateau"
)

// readTimeout bounds what a source may take for one round.
const readTimeout = 5 * time.Second

var errNotYet = errors.New("nothing was measured")

// Source measures something.
type Source interface {
	// Read notes what can be measured now. An error is no news while faults are
	// about; what was noted before it counts.
	Read(ctx context.Context, note Note) error
}

// Note takes one number. Subject is whose it is, such as "host a"; a series whose
// subject is passing is not judged.
type Note func(subject Subject, measure Measure, value float64)

// Subject is whose number it is.
type Subject struct {
	Name string
	// Passing means that its processes are killed on purpose.
	Passing bool
}

// Series is what one measure of one subject was over the time.
type Series struct {
	Subject Subject
	Measure Measure
	Points  []plateau.Point
}

// Judge tells whether the series has a plateau in a run of that length. It is false
// when there is nothing to judge.
func (s Series) Judge(length time.Duration) (plateau.Result, bool) {
	if s.Subject.Passing {
		return plateau.Result{}, false
	}
	return plateau.Judge(s.Points, length, s.Measure.Tolerance()), true
}

// Recorder keeps what its sources measure. It is safe for concurrent use.
type Recorder struct {
	sources []Source
	begun   time.Time

	mu     sync.Mutex
	series []*Series
	index  map[key]*Series
	// unread are the latest errors of the sources that were never read whole.
	unread []error
}

type key struct {
	subject string
	measure Measure
}

// NewRecorder returns one whose time begins now.
func NewRecorder(sources ...Source) *Recorder {
	r := &Recorder{sources: sources, begun: time.Now(), index: make(map[key]*Series), unread: make([]error, len(sources))}
	for i := range r.unread {
		r.unread[i] = errNotYet
	}
	return r
}

// Run measures about every interval until ctx ends. The intervals vary by half, so
// that they do not beat with what is periodic by itself.
func (r *Recorder) Run(ctx context.Context, interval time.Duration) {
	for {
		r.Measure(ctx)
		wait := interval/2 + rand.N(interval)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Measure asks every source once.
func (r *Recorder) Measure(ctx context.Context) {
	at := time.Since(r.begun)
	for i, source := range r.sources {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		err := source.Read(ctx, func(subject Subject, measure Measure, value float64) {
			r.note(subject, measure, plateau.Point{At: at, Value: value})
		})
		cancel()
		r.read(i, err)
	}
}

// read notes how the reading of a source ended.
func (r *Recorder) read(source int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || r.unread[source] != nil {
		r.unread[source] = err
	}
}

// Unread tells of each source that was never read without an error, what the
// latest one was. What such a source would have measured cannot be judged.
func (r *Recorder) Unread() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.unread...)
}

func (r *Recorder) note(subject Subject, measure Measure, point plateau.Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{subject.Name, measure}
	s := r.index[k]
	if s == nil {
		s = &Series{Subject: subject, Measure: measure}
		r.index[k] = s
		r.series = append(r.series, s)
	}
	s.Points = append(s.Points, point)
}

// Series returns what there is so far, in the order in which it first appeared.
func (r *Recorder) Series() []Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Series, len(r.series))
	for i, s := range r.series {
		all[i] = *s
		all[i].Points = s.Points[:len(s.Points):len(s.Points)]
	}
	return all
}

// Elapsed is how long it has been recording.
func (r *Recorder) Elapsed() time.Duration { return time.Since(r.begun) }

// WriteCSV writes one line for each point: seconds, subject, measure, value.
func (r *Recorder) WriteCSV(to io.Writer) error {
	out := csv.NewWriter(to)
	// The writer keeps its first error for the end.
	_ = out.Write([]string{"seconds", "subject", "measure", "value"})
	for _, s := range r.Series() {
		for _, p := range s.Points {
			_ = out.Write([]string{
				strconv.FormatFloat(p.At.Seconds(), 'f', 1, 64), s.Subject.Name, string(s.Measure),
				strconv.FormatFloat(p.Value, 'f', -1, 64),
			})
		}
	}
	out.Flush()
	return out.Error()
}
