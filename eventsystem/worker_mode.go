package eventsystem

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SetMode changes the mode of a running worker: it starts the sources that the
// new mode needs, waits until they work (LISTEN is verified and all queues are
// swept, or a probe has succeeded) and only then stops the others and has what
// they had found processed. Switches come one after the other; to the mode in
// force they do nothing.
//
// A switch that the configuration rules out, or of a worker that does not run,
// is an *InvalidTransitionError. Any other error before the switch leaves the
// old mode in force and what was started for the new one stopped. The wait
// ends with ctx, and without a deadline after three connection timeouts.
func (w *Worker) SetMode(ctx context.Context, to Mode) error {
	ctx, cancel := context.WithTimeout(ctx, 3*w.cfg.ConnectionTimeout)
	defer cancel()
	if err := w.lockTransition(ctx); err != nil {
		return fmt.Errorf("switch to %v: wait for another switch: %w", to, err)
	}
	defer w.unlockTransition()
	from := w.Mode()
	if reason := w.forbids(to); reason != "" {
		return &InvalidTransitionError{From: from, To: to, Reason: reason}
	}
	w.mu.Lock()
	run := w.run
	w.mu.Unlock()
	if !w.running.Load() || run.Err() != nil {
		return &InvalidTransitionError{From: from, To: to, Reason: "the event system does not run"}
	}
	if from == to {
		return nil
	}
	defer context.AfterFunc(run, cancel)()
	return w.switchMode(ctx, from, to)
}

// switchMode does the switch; the transition is held.
func (w *Worker) switchMode(ctx context.Context, from, to Mode) error {
	if err := w.stopFeeds(w.superfluous(from)); err != nil {
		return fmt.Errorf("switch from %v to %v: finish the last switch: %w", from, to, err)
	}
	var started []*feed
	for _, f := range w.feeds {
		if f.needed(to) && f.done == nil {
			w.startFeed(f)
			started = append(started, f)
		}
	}
	if err := w.waitProven(ctx, to); err != nil {
		err = fmt.Errorf("switch from %v to %v: %w", from, to, err)
		return errors.Join(err, w.stopFeeds(started))
	}
	w.mode.Store(int64(to))
	w.broadcaster.Publish(ModeChanged{From: from, To: to})
	w.log.Info("deployment mode changed", "from", from, "to", to)
	w.checkHealthSoon()
	if err := w.stopFeeds(w.superfluous(to)); err != nil {
		return fmt.Errorf("switched from %v to %v, but: %w", from, to, err)
	}
	return nil
}

// superfluous are the feeds that run, or have not been joined yet, without
// being needed.
func (w *Worker) superfluous(mode Mode) (feeds []*feed) {
	for _, f := range w.feeds {
		if f.done != nil && !f.needed(mode) {
			feeds = append(feeds, f)
		}
	}
	return feeds
}

// feedStopTimeout bounds the stop of sources in a switch. It does not depend on
// the caller's patience: once decided, the switch is completed.
const feedStopTimeout = 2 * commandTimeout

func (w *Worker) stopFeeds(feeds []*feed) error {
	ctx, cancel := context.WithTimeout(context.Background(), feedStopTimeout)
	defer cancel()
	var errs []error
	for _, f := range feeds {
		errs = append(errs, f.stop(ctx))
	}
	return errors.Join(errs...)
}

// waitProven waits until every source of the mode works.
func (w *Worker) waitProven(ctx context.Context, mode Mode) error {
	began := time.Now()
	for _, f := range w.feeds {
		if !f.needed(mode) {
			continue
		}
		if err := f.source.WaitProven(ctx); err != nil {
			return fmt.Errorf("the %s does not work after %v: %w", f.name, time.Since(began).Round(time.Millisecond), err)
		}
	}
	return nil
}
