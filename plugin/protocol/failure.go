package protocol

// Types of failure that the SDK itself reports in Failure.type. Handlers must
// not use them for errors of their own.
const (
	// FailurePanic is a handler that panicked or ended its goroutine; the
	// stack is with it.
	FailurePanic = "panic"
	// FailureTimeout is a step whose time was up.
	FailureTimeout = "timeout"
	// FailureCancelled is a step that gave up because it was cancelled for
	// any reason other than its timeout.
	FailureCancelled = "cancelled"
	// FailureBadInput is a message that does not decode into what the handler
	// takes. It is permanent: another attempt would read the same bytes.
	FailureBadInput = "bad_input"
	// FailureBadOutput is a result or an emitted message that is not JSON or
	// is too large to travel.
	FailureBadOutput = "bad_output"
	// FailureUnknownStep is a step for which the plugin has no handler.
	FailureUnknownStep = "unknown_step"
)
