package supervisor

import "github.com/hashicorp/go-hclog"

// maxNotes bounds the transitions between a plugin and a slow host log.
const maxNotes = 64

// transition is one change of a plugin's state.
type transition struct {
	from, to State
	reason   string
}

// journal logs transitions in their order. They are noted under the plugin's
// mutex, which a slow log must not hold up; those that find it full are
// dropped.
type journal struct {
	log        hclog.Logger
	generation int // of the plugin: several may change at the same time
	notes      chan transition
	done       chan struct{}
}

func newJournal(log hclog.Logger, generation int) *journal {
	j := &journal{log: log, generation: generation, notes: make(chan transition, maxNotes), done: make(chan struct{})}
	go j.run()
	return j
}

func (j *journal) note(t transition) {
	select {
	case j.notes <- t:
	default:
	}
}

func (j *journal) run() {
	defer close(j.done)
	for t := range j.notes {
		level := hclog.Info
		switch t.to {
		case StateBackingOff:
			level = hclog.Warn
		case StateTripped:
			level = hclog.Error
		default:
		}
		j.log.Log(level, "plugin changed its state", "from", t.from, "to", t.to, "reason", t.reason, "generation", j.generation)
	}
}

// close logs what has been noted and ends the journal.
func (j *journal) close() {
	close(j.notes)
	<-j.done
}
