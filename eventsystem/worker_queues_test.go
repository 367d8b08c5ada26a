package eventsystem_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
)

func TestOtherQueuesAreServedInEveryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, started %v", mode, started), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w, store, lanes := newWorker(t, config(mode))
					store.Create("c")
					store.SendSilently("a", 0)
					if started {
						require.NoError(t, w.Start(t.Context()))
						require.NoError(t, w.WaitProven(t.Context()))
						synctest.Wait()
						require.Equal(t, 1, lanes.total())
						store.SendSilently("a", 0)
					}
					store.SendSilently("c", 0)
					w.SetQueues([]string{"b", "c"})
					if !started {
						require.NoError(t, w.Start(t.Context()))
					}
					require.NoError(t, w.WaitProven(t.Context()))
					synctest.Wait()
					require.Equal(t, 1, lanes.takenOf("c"), "what the new queue had is found")

					store.Send("b", 0)
					store.Send("c", 0)
					time.Sleep(6 * time.Second)
					synctest.Wait()
					require.Equal(t, 1, lanes.takenOf("b"))
					require.Equal(t, 2, lanes.takenOf("c"))
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					require.Equal(t, 1, store.Take("a"), "nobody looks into the removed queue")
				})
			})
		}
	}
}

func TestQueuesChangeInTheMiddleOfModeSwitches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.Hybrid))
		store.Create("c")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			for i := range 60 {
				if err := w.SetMode(ctx, eventsystem.Modes()[i%3]); err != nil {
					t.Error(err)
				}
				time.Sleep(7 * time.Millisecond)
			}
		})
		sent := 0
		for i := range 300 {
			w.SetQueues([]string{"a", "b", "c"}[:2+i%2])
			store.Send([]string{"a", "b"}[i%2], 0)
			sent++
			time.Sleep(3 * time.Millisecond)
		}
		all.Wait()
		w.SetQueues([]string{"a", "b", "c"})
		require.NoError(t, w.WaitProven(t.Context()))
		store.Send("c", 0)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, sent+1, lanes.total())
	})
}
