package processor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

func testDecider() decider {
	return decider{
		ns: Namespace{
			Name: "orders", Queue: "orders_queue", ResultQueue: "results", DeadLetter: "orders_dead",
			Retry: RetryPolicy{MaxAttempts: 3, MaxDeliveries: 4, Delay: Exponential(time.Second, 10*time.Second)},
		},
		workerID: "w",
		queueOf: func(ns string) (string, bool) {
			return ns + "_queue", ns == "payments"
		},
	}
}

func testEntry() *entry {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &entry{
		lease:     queues.Lease{Queue: "orders_queue", ID: 7, Epoch: 5, EnqueuedAt: at},
		claimedAt: at.Add(time.Second), claimCall: time.Now(),
		record: queues.Record{Accounted: 4},
		step:   "charge",
	}
}

func success(output string, emits ...*pluginv1.Emit) *pluginv1.Result {
	return &pluginv1.Result{DurationUs: 2500, Outcome: &pluginv1.Result_Success{
		Success: &pluginv1.Success{Output: []byte(output), Emits: emits},
	}}
}

func failed(f *pluginv1.Failure) *pluginv1.Result {
	return &pluginv1.Result{Outcome: &pluginv1.Result_Failure{Failure: f}}
}

func TestDecideSuccessSendsResultAndEmits(t *testing.T) {
	t.Parallel()
	e := testEntry()
	testDecider().result(e, success(`{"ok":true}`, &pluginv1.Emit{
		Target: &pluginv1.Emit_Namespace{Namespace: "payments"}, Body: []byte(`{}`), DelayMs: 1500,
	}), e.claimCall)
	complete := e.action.(queues.Complete)
	require.Equal(t, OutcomeSucceeded, e.outcome)
	require.Len(t, complete.Send, 2)
	require.Equal(t, queues.Outgoing{Queue: "payments_queue", Body: []byte(`{}`), Delay: 1500 * time.Millisecond}, complete.Send[0])
	require.Equal(t, "results", complete.Send[1].Queue)

	var got map[string]any
	require.NoError(t, json.Unmarshal(complete.Send[1].Body, &got))
	require.Equal(t, true, got["success"])
	require.Equal(t, "completed", got["status"])
	require.Equal(t, map[string]any{"ok": true}, got["result"])
	require.Equal(t, "charge", got["step"])
	require.EqualValues(t, 1, got["attempt"])
	require.EqualValues(t, 2, got["metadata"].(map[string]any)["execution_time_ms"])
}

func TestDecideEmitToAnUnknownNamespaceFails(t *testing.T) {
	t.Parallel()
	e := testEntry()
	testDecider().result(e, success(`{}`, &pluginv1.Emit{Target: &pluginv1.Emit_Namespace{Namespace: "nowhere"}}), e.claimCall)
	require.Equal(t, OutcomeRetried, e.outcome)
	require.Contains(t, e.errText, `namespace "nowhere"`)
}

func TestDecideFailureFollowsThePolicy(t *testing.T) {
	t.Parallel()
	e := testEntry()
	testDecider().result(e, failed(&pluginv1.Failure{Message: "no", Type: "net"}), e.claimCall)
	retry := e.action.(queues.Retry)
	require.Equal(t, time.Second, retry.Delay)
	require.Equal(t, 1, retry.Record.Failures)
	require.EqualValues(t, 6, retry.Record.Accounted, "the delivery and its give-back are accounted for")
	require.Equal(t, "no", retry.Record.Errors[0].Message)

	e = testEntry()
	e.record.Failures = 1
	testDecider().result(e, failed(&pluginv1.Failure{
		Message: "later", Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER, RetryAfterMs: 90_000,
	}), e.claimCall)
	require.Equal(t, 90*time.Second, e.action.(queues.Retry).Delay, "the handler's delay wins")
}

func TestDecideSpentBudgetDeadLettersWithOneFailureResult(t *testing.T) {
	t.Parallel()
	e := testEntry()
	e.record.Failures = 2
	testDecider().result(e, failed(&pluginv1.Failure{Message: "no", Type: "net", Stack: "at x"}), e.claimCall)
	dead := e.action.(queues.DeadLetter)
	require.Equal(t, "orders_dead", dead.Queue)
	require.Equal(t, queues.DeadAttemptsSpent, dead.Record.Dead.Reason)
	require.Equal(t, queues.Origin{Queue: "orders_queue", ID: 7, EnqueuedAt: e.lease.EnqueuedAt}, *dead.Record.Origin)
	require.Len(t, dead.Send, 1)
	var got map[string]any
	require.NoError(t, json.Unmarshal(dead.Send[0].Body, &got))
	require.Equal(t, false, got["success"])
	require.Equal(t, map[string]any{
		"message": "no", "error_type": "net", "retryable": false, "backtrace": []any{"at x"},
	}, got["error"])
}

func TestDecidePermanentDeadLettersAtOnce(t *testing.T) {
	t.Parallel()
	e := testEntry()
	testDecider().result(e, failed(&pluginv1.Failure{
		Message: "never", Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT,
	}), e.claimCall)
	require.Equal(t, queues.DeadPermanent, e.action.(queues.DeadLetter).Record.Dead.Reason)
}

func TestDecideWhatSpendsNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		result    *pluginv1.Result
		cancelled pluginv1.CancelReason
		want      Outcome
	}{
		"snooze":       {&pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: 10}}}, 0, OutcomeSnoozed},
		"not accepted": {&pluginv1.Result{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{}}}, 0, OutcomeReleased},
		"drained":      {failed(&pluginv1.Failure{Message: "stopped"}), pluginv1.CancelReason_CANCEL_REASON_DRAINING, OutcomeReleased},
		"lease lost":   {failed(&pluginv1.Failure{Message: "stopped"}), pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, OutcomeReleased},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := testEntry()
			e.record.Failures = 2
			e.cancelled = tc.cancelled
			testDecider().result(e, tc.result, e.claimCall)
			require.Equal(t, tc.want, e.outcome)
			var record queues.Record
			switch a := e.action.(type) {
			case queues.Retry:
				record = a.Record
			case queues.Release:
				record = a.Record
			}
			require.Equal(t, 2, record.Failures)
			require.EqualValues(t, 6, record.Accounted)
		})
	}
}

func TestDecideLostDeliveryCountsTowardsMaxDeliveries(t *testing.T) {
	t.Parallel()
	d := testDecider()
	e := testEntry() // epoch 5, accounted 4: no delivery without outcome so far
	d.lost(e, errors.New("signal: killed"), e.claimCall)
	record := e.action.(queues.Release).Record
	require.Zero(t, record.Failures)
	// The give-back makes epoch 6, the next claim 7.
	require.EqualValues(t, 1, 7-record.Accounted-1)
}

// elsewhere is a loss that is another step's doing.
type elsewhere struct{}

func (elsewhere) Error() string   { return "another handler hung" }
func (elsewhere) Bystander() bool { return true }

func TestDecideBystandersSpendNothing(t *testing.T) {
	t.Parallel()
	d := testDecider()
	e := testEntry()
	before := e.record
	d.lost(e, fmt.Errorf("lost: %w", elsewhere{}), e.claimCall)
	record := e.action.(queues.Release).Record
	require.Equal(t, before.Failures, record.Failures)
	require.Equal(t, before.Crashes, record.Crashes)
	require.Equal(t, e.lease.Epoch+1, record.Accounted, "the delivery and its give-back are accounted for")
	require.Len(t, record.Errors, len(before.Errors))
}

// lone is a crash; true: with a single step in flight.
type lone bool

func (lone) Error() string { return "signal: segmentation fault" }
func (l lone) Alone() bool { return bool(l) }
func (lone) Trace() string { return "SIGSEGV: segmentation violation\n\ngoroutine 1 [running]" }

func TestDecideSuspectsAllThatWereInFlightAtNoCost(t *testing.T) {
	t.Parallel()
	d := testDecider()
	e := testEntry()
	e.record.Failures = 1
	for suspicion := 1; suspicion <= 5; suspicion++ {
		d.lost(e, fmt.Errorf("lost: %w", lone(false)), e.claimCall)
		record := e.action.(queues.Release).Record
		require.Equal(t, suspicion, record.Suspicion)
		require.Equal(t, 1, record.Failures)
		require.Zero(t, record.Crashes)
		require.EqualValues(t, 6, record.Accounted, "the delivery and its give-back are accounted for")
		require.Equal(t, "lost: signal: segmentation fault", record.Errors[suspicion-1].Message)
		e.record = record
	}
}

func TestDecideBlamesOnlyAMessageThatWasAlone(t *testing.T) {
	t.Parallel()
	d := testDecider()
	d.ns.Retry.MaxCrashes = 2
	e := testEntry()
	d.lost(e, fmt.Errorf("lost: %w", lone(true)), e.claimCall)
	record := e.action.(queues.Release).Record
	require.Equal(t, 1, record.Crashes)
	require.Equal(t, 1, groupSize(record.Suspicion), "from now on it runs alone")
	require.EqualValues(t, 6, record.Accounted, "a proven crash is not a delivery without outcome too")

	e = testEntry()
	e.group = 2
	d.lost(e, lone(true), e.claimCall)
	last := e.action.(queues.Release).Record
	require.Zero(t, last.Crashes, "who is the last of a group has not had the process for itself")
	require.Equal(t, 1, groupSize(last.Suspicion))

	e = testEntry()
	e.record = record
	d.lost(e, lone(true), e.claimCall)
	dead := e.action.(queues.DeadLetter)
	require.Equal(t, queues.DeadCrashes, dead.Record.Dead.Reason)
	require.Contains(t, dead.Record.Errors[1].Stack, "goroutine 1 [running]")
	require.Len(t, dead.Send, 1)
	require.Contains(t, string(dead.Send[0].Body), "goroutine 1 [running]")
}

func TestDecideClearsASuspectByAnOutcome(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		result    *pluginv1.Result
		suspicion int
	}{
		"failure":      {failed(&pluginv1.Failure{Message: "no"}), 0},
		"snooze":       {&pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{}}}, 0},
		"not accepted": {&pluginv1.Result{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{}}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := testEntry()
			e.record.Suspicion = 2
			testDecider().result(e, tc.result, e.claimCall)
			var record queues.Record
			switch a := e.action.(type) {
			case queues.Retry:
				record = a.Record
			case queues.Release:
				record = a.Record
			}
			require.Equal(t, tc.suspicion, record.Suspicion)
		})
	}
}

func TestDecideDelaysBeyondAllMeasureStayDelays(t *testing.T) {
	t.Parallel()
	for _, ms := range []int64{math.MaxInt64, math.MaxInt64 / 1000, 1 << 62} {
		e := testEntry()
		testDecider().result(e, &pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: ms}}}, e.claimCall)
		require.Greater(t, e.action.(queues.Retry).Delay, 24*time.Hour)
		e = testEntry()
		testDecider().result(e, failed(&pluginv1.Failure{Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER, RetryAfterMs: ms}), e.claimCall)
		require.Greater(t, e.action.(queues.Retry).Delay, 24*time.Hour)
		e = testEntry()
		testDecider().result(e, success(`1`, &pluginv1.Emit{Target: &pluginv1.Emit_Queue{Queue: "q"}, Body: []byte(`{}`), DelayMs: ms}), e.claimCall)
		require.Greater(t, e.action.(queues.Complete).Send[0].Delay, 24*time.Hour)
	}
}

func TestDecideResultWithoutOutcomeIsAFailure(t *testing.T) {
	t.Parallel()
	e := testEntry()
	testDecider().result(e, &pluginv1.Result{}, e.claimCall)
	require.Equal(t, OutcomeRetried, e.outcome)
}

func TestRetryPolicyCurves(t *testing.T) {
	t.Parallel()
	exp := Exponential(time.Second, time.Minute)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, []time.Duration{exp(1), exp(2), exp(3)})
	require.Equal(t, time.Minute, exp(1000), "no overflow")
	lin := Linear(time.Second, 3*time.Second)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}, []time.Duration{lin(1), lin(2), lin(3), lin(9)})
	require.Equal(t, time.Second, Fixed(time.Second)(5))
	for range 100 {
		d := RetryPolicy{Delay: Fixed(time.Second), Jitter: 0.1}.next(1)
		require.InDelta(t, float64(time.Second), float64(d), float64(100*time.Millisecond))
	}
}
