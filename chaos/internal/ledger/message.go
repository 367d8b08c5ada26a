package ledger

import (
	"encoding/json"
	"strconv"
)

// The queues of a chaos run.
const (
	Namespace   = "work"
	Queue       = "work_queue"
	DeadQueue   = "work_dead"
	ResultQueue = "work_results"
	// EmitQueue gets what handlers emit. Nobody reads it.
	EmitQueue = "work_emits"
)

// Queues are all of them.
func Queues() []string { return []string{Queue, DeadQueue, ResultQueue, EmitQueue} }

// Deed is what a handler does with a message.
type Deed string

// The deeds.
const (
	OK     Deed = "ok"     // succeed after a while
	Fail   Deed = "fail"   // return an error
	Panic  Deed = "panic"  // panic in the handler's goroutine
	Exit   Deed = "exit"   // end the process
	Hang   Deed = "hang"   // ignore the cancellation and go on for Stubborn
	Poison Deed = "poison" // end the process on every execution
)

// End is where a message ends when nothing is wrong with the host.
type End string

// The ends.
const (
	Done End = "done" // archived, with a result that tells of success
	Dead End = "dead" // in the dead letters, with a result that tells of failure
	// Either is for messages of which a fault cannot know.
	Either End = "either"
)

// Message is one step, as the handler reads it.
type Message struct {
	// ID is unique in a run. CorrelationID is the same as text: the host copies
	// it into the result.
	ID            int64  `json:"id"`
	CorrelationID string `json:"correlation_id"`
	Do            Deed   `json:"do"`
	// Times is how many attempts do it, before the next one succeeds; for Exit,
	// which is no attempt, how many executions. It does not bound Poison.
	Times int `json:"times,omitempty"`
	// Milliseconds is how long the handler works before it does anything.
	Milliseconds int `json:"ms,omitempty"`
	// Stubborn is for how many milliseconds Hang goes on.
	Stubborn int `json:"stubborn_ms,omitempty"`
	// Emit has every execution emit one message, of which only that of a success
	// may be sent.
	Emit bool `json:"emit,omitempty"`
	// Delay is for how many seconds the message is sent ahead; it is not sent.
	Delay int `json:"-"`
	// End is what the audit expects; it is not sent.
	End End `json:"-"`
}

// New returns a message that succeeds after some milliseconds.
func New(id int64, milliseconds int) Message {
	return Message{ID: id, CorrelationID: strconv.FormatInt(id, 10), Do: OK, Milliseconds: milliseconds, End: Done}
}

// Body is the message as JSON.
func (m Message) Body() string {
	// Nothing in it can fail to be encoded.
	text, _ := json.Marshal(m)
	return string(text)
}
