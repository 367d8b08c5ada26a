package doctor

import (
	"slices"
	"time"

	"github.com/stephost/stephost/queues/pgmq"
)

// Target is what is examined.
type Target struct {
	// DSN and ListenDSN are as in pgmq.Options; Origin says for people where the
	// DSN was found.
	DSN, ListenDSN string
	Origin         string
	// Queues are those of the namespaces.
	Queues []Queue
	// OnComplete, Notifications and MaxConnections are as in pgmq.Options.
	OnComplete     pgmq.OnComplete
	Notifications  pgmq.Notifications
	MaxConnections int
	// Listens tells that a host here needs notifications.
	Listens bool
	// Limits are when something is worth a warning; zero values mean defaults.
	Limits Limits
}

// Queue is what a namespace has in the database.
type Queue struct {
	Namespace, Name string
	// Dead is its dead-letter queue, Result where results go, or "".
	Dead, Result string
	// PruneArchive and PruneDead tell that a host deletes what is old there.
	PruneArchive, PruneDead bool
	// StepKey is the member of a message that names its step. Steps are those
	// that the plugin knows; nil: that is not known. HasDefault tells that it
	// takes messages that name none.
	StepKey    string
	Steps      []string
	HasDefault bool
}

// Limits are when something is worth a warning.
type Limits struct {
	Transaction time.Duration // how long one may stay open; 1 minute
	// Transactions are how many may have begun since one did whose time is not
	// known; 10,000.
	Transactions int64
	Waiting      time.Duration // how long a message may be visible while a host runs; 1 minute
	Lease        time.Duration // how far in the future a message that was claimed may be due; 1 day
	Deliveries   int           // how often one may be delivered; 100
	DeadRows     int64         // how many dead rows a table may have; 50,000
	IndexBytes   int64         // how large the claim index of an almost empty queue may be; 16 MiB
}

func (l Limits) withDefaults() Limits {
	set(&l.Transaction, time.Minute)
	set(&l.Transactions, 10_000)
	set(&l.Waiting, time.Minute)
	set(&l.Lease, 24*time.Hour)
	set(&l.Deliveries, 100)
	set(&l.DeadRows, 50_000)
	set(&l.IndexBytes, 16<<20)
	return l
}

func set[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// workload is what a host does with the queues.
func (t Target) workload() pgmq.Workload {
	w := pgmq.Workload{OnComplete: t.OnComplete, Notifications: t.Notifications}
	for _, q := range t.Queues {
		w.Consume = append(w.Consume, q.Name)
		w.Dead = append(w.Dead, q.Dead)
		if q.Result != "" {
			w.Send = append(w.Send, q.Result)
		}
		if q.PruneArchive {
			w.PruneArchives = append(w.PruneArchives, q.Name)
		}
		if q.PruneDead {
			w.PruneDead = append(w.PruneDead, q.Dead)
		}
	}
	return w
}

// names are all queues that a host here uses, each once.
func (t Target) names() []string {
	w := t.workload()
	var names []string
	for _, name := range slices.Concat(w.Consume, w.Dead, w.Send) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
