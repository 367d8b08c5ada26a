package queues

import "time"

// Settlement ends a lease in one of four ways. A batch of them becomes one
// statement; each is fenced by its lease's epoch.
type Settlement struct {
	Lease
	Action Action
}

// Action is Complete, Retry, Release or DeadLetter.
type Action interface{ action() }

// Complete ends the message: it is archived or deleted, as the broker is
// configured, and what it sends goes out in the same transaction.
type Complete struct {
	Send []Outgoing
}

// Retry gives the message back, to be visible after Delay. It adds one to the
// epoch. Whether it spends the failure budget is in the record.
type Retry struct {
	Delay  time.Duration
	Record Record
}

// Release gives the message back at once and notifies, so that another host
// can take it in every mode. It adds one to the epoch.
type Release struct {
	Record Record
}

// DeadLetter moves the message to another queue, with its bookkeeping, and
// sends its one failure result in the same transaction.
type DeadLetter struct {
	Queue  string
	Record Record
	Send   []Outgoing
}

func (Complete) action()   {}
func (Retry) action()      {}
func (Release) action()    {}
func (DeadLetter) action() {}

// Outgoing is a message that a settlement sends: a result or an emitted
// message.
type Outgoing struct {
	Queue string
	// Body is JSON.
	Body []byte
	// Headers is a JSON object or nil.
	Headers []byte
	Delay   time.Duration
}

// SettleStatus says how one member of a batch fared.
type SettleStatus int

// The statuses.
const (
	// SettleUnknown: whether it was committed is not known, or it was not
	// tried; settle again. The zero value, so that nothing is taken as settled
	// by accident.
	SettleUnknown SettleStatus = iota
	// Settled: committed.
	Settled
	// LeaseLost: no row with that epoch; nothing was written for this member.
	// After an unknown outcome of the same settlement it proves neither success
	// nor loss.
	LeaseLost
	// Refused: the database will never take this member as it is; Err says why.
	// Nothing was written for it.
	Refused
)

// SettleResult is the fate of one settlement.
type SettleResult struct {
	Status SettleStatus
	// Err explains Refused and SettleUnknown.
	Err error
}

// ExtendStatus says how one lease fared in an extension.
type ExtendStatus int

// The statuses.
const (
	// ExtendSkipped: the row is locked, most likely by its own settlement.
	ExtendSkipped ExtendStatus = iota
	// Extended: the lease now ends the asked duration from now.
	Extended
	// ExtendLost: the message is gone or has another epoch.
	ExtendLost
)
