package eventsystem_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
)

func TestRecorderMeasuresTheLastMinute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := eventsystem.NewRecorder()
		require.EqualValues(t, 1, r.Snapshot().SuccessRate())
		require.EqualValues(t, 1, r.Window().SuccessRate())

		// 100 events a second for two minutes; one in ten fails.
		for i := range 12_000 {
			r.Record("step_ready", "poll", time.Duration(i%100+1)*time.Millisecond, i%10 == 0)
			time.Sleep(10 * time.Millisecond)
		}
		s := r.Snapshot()
		require.EqualValues(t, 10_800, s.EventsProcessed)
		require.EqualValues(t, 1_200, s.EventsFailed)
		require.InDelta(t, 0.9, s.SuccessRate(), 1e-9)
		require.InDelta(t, 62, s.Recent.Span.Seconds(), 3)
		require.InDelta(t, 100, s.Recent.Rate, 1)
		require.InDelta(t, 0.0505, s.Recent.AverageLatency.Seconds(), 0.001)
		for _, p := range []struct{ want, got time.Duration }{
			{50 * time.Millisecond, s.Recent.P50},
			{95 * time.Millisecond, s.Recent.P95},
			{99 * time.Millisecond, s.Recent.P99},
		} {
			require.GreaterOrEqual(t, p.got, p.want)
			require.LessOrEqual(t, p.got, p.want*5/4+time.Millisecond)
		}

		time.Sleep(time.Hour)
		s = r.Snapshot()
		require.EqualValues(t, 12_000, s.ByKind["step_ready"])
		require.Zero(t, s.Recent.Rate)
		require.Zero(t, s.Recent.P99)
	})
}

func TestRecorderTakesAnyLatency(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, d := range []time.Duration{-1, 0, 3 * time.Microsecond, 4 * time.Microsecond, 7 * time.Microsecond,
			8 * time.Microsecond, time.Second, time.Hour} {
			r := eventsystem.NewRecorder()
			r.Record("k", "s", d, false)
			p := r.Window().P50
			require.Greater(t, p, d)
			require.LessOrEqual(t, p, max(d, 0)*5/4+time.Microsecond)
		}
		r := eventsystem.NewRecorder()
		r.Record("k", "s", 1000*time.Hour, false)
		require.Greater(t, r.Window().P50, 18*time.Hour)
	})
}

func TestBroadcasterDropsNothingForThoseWhoRead(t *testing.T) {
	t.Parallel()
	var b eventsystem.Broadcaster
	b.Publish(eventsystem.Stopped{})
	quick, stopQuick := b.Subscribe(3)
	slow, stopSlow := b.Subscribe(0)
	for range 3 {
		b.Publish(eventsystem.Stopped{})
	}
	require.Len(t, quick, 3)
	require.Len(t, slow, 1)
	require.EqualValues(t, 2, b.Lost())
	stopSlow()
	stopSlow()
	b.Publish(eventsystem.Stopped{})
	require.EqualValues(t, 3, b.Lost(), "the full one that is left")
	stopQuick()
	for range quick {
	}
	<-slow
	_, open := <-slow
	require.False(t, open)
}
