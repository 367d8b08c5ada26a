package processor

import (
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Executor is a running plugin as a lane sees it: somewhere to send steps. The
// supervisor's plugins implement it, over one process or a pool of them. All
// methods are safe for concurrent use and none of them blocks on the plugin.
// Executors are compared, as pointers can be.
type Executor interface {
	// State tells whether steps can be dispatched now. Changed is closed at the
	// next change of any part of the answer.
	State() ExecutorState

	// Dispatch hands over steps. The executor owns them until it has called
	// sink for each id exactly once: with a result, as returned, or as lost.
	// When the plugin is not ready it returns them at once through
	// sink.Returned.
	Dispatch(steps []*pluginv1.Step, sink Sink)

	// Cancel asks the plugin to stop the steps with these ids. Unknown ids are
	// ignored. Each step still comes back through its sink.
	Cancel(ids []uint64, reason pluginv1.CancelReason)

	// Abandon says that the host has given up on these steps, which do not stop
	// although they have been cancelled; cause names the handler. The executor
	// ends what runs them and spares the other steps as well as it can; those that
	// it cannot spare are lost with a cause that is a bystander's. Unknown ids are
	// ignored. The abandoned steps come back through their sink, too, and are
	// ignored there.
	Abandon(ids []uint64, cause error)

	// Apart asks for a turn of s in the plugin's probation: in a process that
	// runs the steps of one turn and no others beside them. Turns are given one at
	// a time, in the order in which they were asked for. The answer is exactly one
	// call of s.Turn or s.Refused, maybe before Apart returns. fresh asks for a
	// process that has run nothing before.
	Apart(s Suspects, fresh bool)
}

// Suspects have steps that must not run beside others: those of messages that
// were in flight when the plugin crashed.
type Suspects interface {
	// Sink takes back the steps of a turn, each exactly once. The turn has ended
	// when all have come back.
	Sink
	// Turn returns the steps that are to run together now, at most limit of them
	// unless that is 0. None: the turn is passed on.
	Turn(limit int) []*pluginv1.Step
	// Refused says that there is no turn, and why. Asking again at once is in
	// vain.
	Refused(cause error)
}

// ExecutorState is a snapshot.
type ExecutorState struct {
	Ready bool
	// MaxConcurrency is the most steps that the plugin wants in flight, all its
	// processes together; 0 means no limit.
	MaxConcurrency int
	// Steps are the names of the handlers. Default is the one for messages
	// that name no step, or "". Known only once the plugin has been ready.
	Steps   map[string]struct{}
	Default string
	// Untimed: steps have no timeout, for somebody looks at the plugin in a
	// debugger.
	Untimed bool
	// Reason says why it is not ready, for people.
	Reason  string
	Changed <-chan struct{}
}

// Sink takes what comes back. The executor calls it from its own goroutines,
// in batches, possibly concurrently; implementations must not block for long.
type Sink interface {
	// Results are outcomes from the plugin. NotAccepted is among them.
	Results(results []*pluginv1.Result)
	// Heartbeats are signs of life of running steps.
	Heartbeats(beats []*pluginv1.Heartbeat)
	// Returned are steps that never reached a handler.
	Returned(ids []uint64)
	// Lost are steps that had been sent when the process or its stream ended;
	// whether their handlers ran is not known.
	Lost(ids []uint64, cause error)
}
