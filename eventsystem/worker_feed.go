package eventsystem

import (
	"context"
	"fmt"
	"time"

	"github.com/stephost/stephost/queues"
)

// source is a Listener or a FallbackPoller.
type source interface {
	Start()
	WaitProven(ctx context.Context) error
	Next(ctx context.Context) (queues.Notification, error)
	Stop(ctx context.Context) error
	Pulse() *queues.Pulse
}

// feed is a source with the goroutine that processes what it finds. Only the
// holder of the worker's transition starts and stops it.
type feed struct {
	name   string
	source source
	needed func(Mode) bool

	forwarding queues.Pulse
	done       chan struct{} // nil: does not run
	cancel     context.CancelFunc
}

// startFeed makes the source and its forwarding run.
func (w *Worker) startFeed(f *feed) {
	ctx, cancel := context.WithCancel(context.Background())
	f.done, f.cancel = make(chan struct{}), cancel
	f.source.Start()
	go func() {
		defer close(f.done)
		w.forward(ctx, f)
	}()
}

// stop ends the source, lets what it had found be processed, and joins both
// goroutines. When ctx ends first, the processing is cancelled.
func (f *feed) stop(ctx context.Context) error {
	if f.done == nil {
		return nil
	}
	if err := f.source.Stop(ctx); err != nil {
		return err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		f.cancel()
		return fmt.Errorf("process what the %s had found: %w", f.name, ctx.Err())
	}
	f.cancel()
	f.done, f.cancel = nil, nil
	return nil
}

// commandTimeout bounds a call of the Commander, which is not meant to block.
const commandTimeout = 10 * time.Second

// forward processes what a source finds until the source is stopped.
func (w *Worker) forward(ctx context.Context, f *feed) {
	for {
		f.forwarding.Beat(0)
		n, err := f.source.Next(ctx)
		if err != nil {
			return
		}
		f.forwarding.Beat(commandTimeout)
		switch n := n.(type) {
		case queues.Event:
			if err := w.ProcessEvent(ctx, n); err != nil {
				w.log.Debug("event failed", "queue", n.Queue, "source", n.Source, "error", err)
			}
		case queues.HealthUpdate:
			w.counts.healthUpdates.Add(1)
			w.checkHealthSoon()
		case queues.ConfigUpdate:
			w.counts.configUpdates.Add(1)
			w.noteConfig(n)
		}
	}
}

func (w *Worker) noteConfig(update queues.ConfigUpdate) {
	if update.Type == queues.QueueRemoved {
		w.log.Warn("queue does not exist; its namespace waits for it", "queue", update.Queue)
		return
	}
	w.log.Info("queue has been created", "queue", update.Queue)
}

// ProcessEvent makes the lane of the event's queue act. An error, also for
// having taken longer than ProcessingTimeout since the event was received,
// counts as failed; what the event stood for is found again by the next poll
// or sweep.
func (w *Worker) ProcessEvent(ctx context.Context, event queues.Event) error {
	if event.ReceivedAt.IsZero() {
		event.ReceivedAt = time.Now()
	}
	err := w.command(ctx, event)
	latency := time.Since(event.ReceivedAt)
	if err == nil && latency > w.cfg.ProcessingTimeout {
		err = fmt.Errorf("queue %q: event was acted on after %v; processing_timeout is %v",
			event.Queue, latency.Round(time.Millisecond), w.cfg.ProcessingTimeout)
	}
	w.recorder.Record(event.Kind.String(), event.Source.String(), latency, err != nil)
	if err != nil {
		w.mu.Lock()
		w.lastError, w.lastErrAt = err.Error(), time.Now()
		w.mu.Unlock()
		w.broadcaster.Publish(EventFailed{Err: err})
		return err
	}
	w.broadcaster.Publish(EventProcessed{Latency: latency})
	return nil
}

func (w *Worker) command(ctx context.Context, event queues.Event) error {
	if event.Kind != queues.EventStepReady {
		return fmt.Errorf("queue %q: nothing to do for an event of kind %v", event.Queue, event.Kind)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	act := w.commander.ExecuteStep
	if event.Source == queues.SourceNotification {
		act = w.commander.ExecuteStepFromEvent
	}
	if err := act(ctx, event); err != nil {
		return fmt.Errorf("queue %q: %w", event.Queue, err)
	}
	if event.Delay > 0 {
		w.NotifyDue(event.Queue, event.Delay)
	}
	return nil
}
