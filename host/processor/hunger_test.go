package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
)

func TestHungerAnIdleLaneHasNoReasonToLook(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	require.False(t, h.hungry(now))
	require.Equal(t, never, h.next(now))
	h.short(now, false)
	require.Equal(t, never, h.next(now), "a look that found nothing is no reason for another")
}

func TestHungerLooksAgainAfterANotification(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.feed(queues.Event{Source: queues.SourceNotification})
	require.True(t, h.hungry(now))
	require.False(t, h.take(now).sweep)

	var looks int
	var swept, ahead bool
	for h.short(now, false); h.next(now) != never; h.short(now, false) {
		now = now.Add(h.next(now))
		require.True(t, h.hungry(now))
		l := h.take(now)
		looks++
		swept, ahead = swept || l.sweep, ahead || l.ahead
		require.Less(t, looks, 20)
	}
	require.Equal(t, rechecks, looks)
	require.True(t, swept, "late commits are found")
	require.True(t, ahead, "delayed messages are found")
}

func TestHungerStartsAgainWhenARecheckFindsSomething(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.feed(queues.Event{Source: queues.SourceNotification})
	h.take(now)
	h.short(now, false)
	for range 4 {
		now = now.Add(h.next(now))
		h.take(now)
		h.short(now, false)
	}
	require.Greater(t, h.next(now), firstRecheck)
	now = now.Add(h.next(now))
	h.take(now)
	h.short(now, true)
	require.Equal(t, firstRecheck, h.next(now))
}

func TestHungerNotificationBringsAPendingRecheckForward(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	note := queues.Event{Source: queues.SourceNotification}
	now := time.Now()
	h.feed(note)
	h.take(now)
	h.short(now, true)
	for range rechecks - 1 {
		now = now.Add(h.next(now))
		h.take(now)
		h.short(now, false)
	}
	require.Equal(t, firstRecheck<<(rechecks-1), h.next(now))
	h.feed(note)
	h.take(now)
	h.short(now, true)
	require.Equal(t, firstRecheck, h.next(now))

	now = now.Add(firstRecheck / 2)
	h.feed(note)
	h.take(now)
	h.short(now, true)
	require.Equal(t, firstRecheck/2, h.next(now), "notifications do not put the recheck off")
}

func TestHungerPollIsNoReasonForRechecks(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.feed(queues.Event{Source: queues.SourcePoll})
	require.True(t, h.take(now).sweep)
	h.short(now, true)
	require.Equal(t, never, h.next(now))
}

func TestHungerEarliestDueTimeWins(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.dueIn(now, time.Minute)
	h.dueIn(now, time.Second)
	h.dueIn(now, time.Hour)
	require.Equal(t, time.Second, h.next(now))
	require.False(t, h.hungry(now))
	now = now.Add(time.Second)
	require.True(t, h.hungry(now))
	l := h.take(now)
	require.True(t, l.sweep && l.ahead)
	require.False(t, h.hungry(now))
}

func TestHungerSweepsWhenTheBrokerHasPutThatOff(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.sweepIn(now, time.Second)
	require.Equal(t, time.Second, h.next(now))
	require.False(t, h.hungry(now))
	now = now.Add(time.Second)
	require.True(t, h.hungry(now))
	l := h.take(now)
	require.True(t, l.sweep)
	require.False(t, l.ahead, "what is due was learnt before")
	require.False(t, h.hungry(now))
}

func TestHungerWaitsAfterAFailedClaim(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.feed(queues.Event{Source: queues.SourcePoll})
	h.failed(h.take(now), now, time.Second)
	require.False(t, h.hungry(now))
	require.Equal(t, time.Second, h.next(now))
	l := h.take(now.Add(time.Second))
	require.True(t, h.retryAt.Before(now.Add(time.Second+1)))
	require.True(t, l.sweep, "the reason is not forgotten")
}

func TestHungerTwoNamedMessagesAreNoName(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	h.feed(queues.Event{MessageID: 7})
	h.feed(queues.Event{MessageID: 8})
	require.Zero(t, h.take(time.Now()).messageID)
}

func TestHungerAFullLookStillOwesTheLookAhead(t *testing.T) {
	t.Parallel()
	h := hunger{recheckStep: rechecks}
	now := time.Now()
	h.dueIn(now, time.Second)
	now = now.Add(time.Second)
	first := h.take(now)
	require.True(t, first.ahead)
	h.full(first)
	require.True(t, h.take(now).ahead, "the next delayed message is learnt once the queue has been emptied")
	h.short(now, false)
	h.feed(queues.Event{Source: queues.SourceNotification})
	require.False(t, h.take(now).ahead, "once")
}

func TestHungerForAMessageThatAClaimOverlooked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := hunger{recheckStep: rechecks}
	h.overlooked(now, true)
	require.True(t, h.hungry(now), "others were found, so more of them became due meanwhile")
	h.take(now)
	h.overlooked(now, false)
	require.False(t, h.hungry(now), "a locked message does not make the lane spin")
	require.Equal(t, firstRecheck, h.next(now))
}
