package processor

import (
	"strings"
	"time"
)

// operation is what a lane asks of the database again and again.
type operation int

const (
	claiming operation = iota
	settlingMessages
	extendingLeases
	operations // how many there are
)

// words say in the log that an operation fails, and that it works again.
func (o operation) words() (fails, works string) {
	switch o {
	case claiming:
		return "claim failed; the namespace looks again", "claims work again"
	case settlingMessages:
		return "settlement failed and is tried again", "settlements work again"
	default:
		return "extending leases failed and is tried again", "extending leases works again"
	}
}

// fault is how an operation last failed; the text is empty once it works.
type fault struct {
	text string
	// The last line in the log, which is not repeated for a minute.
	logged   string
	loggedAt time.Time
	told     bool // it was logged since it last worked
}

const faultLogEvery = time.Minute

// failed notes that an operation failed; l.mu is held.
func (l *lane) failed(o operation, err error, now time.Time, fields ...any) {
	f := &l.status.faults[o]
	f.text = err.Error()
	l.status.lastError = f.text
	// Counts and ids vary from one try to the next.
	kind := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, f.text)
	if kind == f.logged && now.Sub(f.loggedAt) < faultLogEvery {
		return
	}
	f.logged, f.loggedAt, f.told = kind, now, true
	fails, _ := o.words()
	l.log.Error(fails, append([]any{"error", err}, fields...)...)
}

// worked notes that an operation succeeded; l.mu is held.
func (l *lane) worked(o operation) {
	f := &l.status.faults[o]
	f.text = ""
	if f.told {
		f.told = false
		_, works := o.words()
		l.log.Info(works)
	}
}

// moot notes that there is nothing left to do that could fail; l.mu is held.
func (l *lane) moot(o operation) {
	l.status.faults[o].text, l.status.faults[o].told = "", false
}

// faults are the operations that fail now, as text; l.mu is held.
func (l *lane) faults() []string {
	var texts []string
	for _, f := range l.status.faults {
		if f.text != "" {
			texts = append(texts, f.text)
		}
	}
	return texts
}
