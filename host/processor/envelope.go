package processor

import (
	"encoding/json"
	"strconv"
	"time"
)

// result is what the result queue is told about a message, under the field
// names of tasker-core's StepExecutionResult where they mean the same.
type result struct {
	entry   *entry
	success bool
	status  string // completed, failed or error
	output  []byte // JSON; nil means null
	errType string
	errText string
	stack   string
}

// The statuses of tasker-core's StepExecutionResult.
const (
	statusCompleted = "completed" // the handler succeeded
	statusFailed    = "failed"    // the handler failed for good
	statusError     = "error"     // the step never had an outcome of its own
)

// encode renders the result. It appends instead of marshalling a struct since
// it runs once for each step.
func (r *result) encode(namespace, workerID string, now time.Time) []byte {
	e := r.entry
	b := make([]byte, 0, 512+len(r.output))
	b = append(b, `{"task_uuid":`...)
	b = appendText(b, e.fields.taskUUID)
	b = append(b, `,"step_uuid":`...)
	b = appendText(b, e.fields.stepUUID)
	b = append(b, `,"correlation_id":`...)
	b = appendText(b, e.fields.correlationID)
	b = append(b, `,"namespace":`...)
	b = appendQuoted(b, namespace)
	b = append(b, `,"step":`...)
	b = appendQuoted(b, e.stepName())
	origin := e.origin()
	b = append(b, `,"queue":`...)
	b = appendQuoted(b, origin.Queue)
	b = append(b, `,"message_id":`...)
	b = strconv.AppendInt(b, origin.ID, 10)
	b = append(b, `,"idempotency_key":`...)
	b = appendQuoted(b, origin.IdempotencyKey())
	b = append(b, `,"success":`...)
	b = strconv.AppendBool(b, r.success)
	b = append(b, `,"status":`...)
	b = appendQuoted(b, r.status)
	b = append(b, `,"result":`...)
	if len(r.output) > 0 {
		b = append(b, r.output...)
	} else {
		b = append(b, "null"...)
	}
	if !r.success {
		b = append(b, `,"error":{"message":`...)
		b = appendQuoted(b, r.errText)
		b = append(b, `,"error_type":`...)
		b = appendText(b, r.errType)
		b = append(b, `,"retryable":false`...)
		if r.stack != "" {
			b = append(b, `,"backtrace":[`...)
			b = appendQuoted(b, r.stack)
			b = append(b, ']')
		}
		b = append(b, '}')
	}
	b = append(b, `,"attempt":`...)
	b = strconv.AppendInt(b, int64(max(e.attempt(), 1)), 10)
	b = append(b, `,"metadata":{"execution_time_ms":`...)
	b = strconv.AppendInt(b, e.duration.Milliseconds(), 10)
	b = append(b, `,"worker_id":`...)
	b = appendQuoted(b, workerID)
	done := e.databaseTime(now)
	b = append(b, `,"enqueued_at":"`...)
	b = e.lease.EnqueuedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","started_at":"`...)
	b = done.Add(-e.duration).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","completed_at":"`...)
	b = done.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, `"}}`...)
}

// appendText appends s as a JSON string, or null when it is empty.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendQuoted(b, s)
}

// appendQuoted appends s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
