package processor

import (
	"context"
	"errors"
	"fmt"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// startFetches runs the fetcher if there are large bodies to fetch and it does
// not run yet; l.mu is held.
func (l *lane) startFetches() {
	if l.fetching || len(l.fetches) == 0 {
		return
	}
	l.fetching = true
	l.work.Go(l.fetchAll)
}

// fetchAll fetches large bodies one after the other under the byte budget, so
// that many of them at once do not take the host down.
func (l *lane) fetchAll() {
	for {
		l.mu.Lock()
		if len(l.fetches) == 0 {
			l.fetching = false
			l.mu.Unlock()
			return
		}
		e := l.fetches[0]
		l.fetches = l.fetches[1:]
		wanted := e.state == fetching
		l.mu.Unlock()
		if wanted {
			l.fetch(e)
		}
	}
}

// fetch brings one body and dispatches its step.
func (l *lane) fetch(e *entry) {
	ctx, cancel := context.WithTimeout(l.life.fetches, l.limits().Lease)
	defer cancel()
	body, bad, err := l.body(ctx, e)
	exec, ok := l.opts.Registry.Executor(l.name)
	if err == nil && !ok {
		err = errors.New("no plugin is registered for the namespace")
	}
	var step *pluginv1.Step
	parked := false
	before := l.cancelled.Load()
	l.finish(func() []*entry {
		if e.state != fetching { // given up meanwhile
			return nil
		}
		switch {
		case bad != nil:
			l.decide.fail(e, *bad, l.opts.Now())
			return []*entry{e}
		case err != nil:
			l.decide.release(e, err.Error())
			return []*entry{e}
		}
		state := exec.State()
		apart := e.mustWait(state)
		if !l.prepare(e, body, state) || apart && !l.park(e) {
			return []*entry{e}
		}
		if apart {
			// Who waits for a turn holds no slot.
			parked, e.slot = true, false
			l.running--
			return nil
		}
		l.begin(e, exec, l.opts.Now())
		step = e.sent
		return nil
	})
	if parked {
		l.slots.release(l.share, 1, false)
		poke(l.wake)
	}
	if step == nil {
		return
	}
	steps := []*pluginv1.Step{step}
	if l.opts.OnStep != nil {
		l.announce(steps)
	}
	l.dispatch(exec, steps, before)
}

// body fetches an entry's body. bad says that the message can never run.
func (l *lane) body(ctx context.Context, e *entry) (body []byte, bad *failure, err error) {
	l.mu.Lock()
	lease := e.lease
	l.mu.Unlock()
	size, ok, err := l.opts.Broker.BodySize(ctx, lease)
	if err != nil || !ok {
		return nil, nil, fetchError(ok, err)
	}
	if l.opts.MaxBody > 0 && size > l.opts.MaxBody {
		return nil, tooLarge(size, l.opts.MaxBody), nil
	}
	if err := l.budget.acquire(ctx, size); err != nil {
		return nil, nil, fmt.Errorf("wait for room for a body of %d bytes: %w", size, err)
	}
	if !l.charge(e, size) {
		return nil, nil, errors.New("fetch a large body: the message has been given back")
	}
	body, ok, err = l.opts.Broker.Body(ctx, lease)
	if err != nil || !ok {
		return nil, nil, fetchError(ok, err)
	}
	return body, nil, nil
}

// charge makes an entry hold bytes that were acquired for it. It may be settled
// by now: then nobody else would release them.
func (l *lane) charge(e *entry, bytes int64) bool {
	l.mu.Lock()
	_, inHand := l.entries[e.id]
	if inHand {
		e.bytes = bytes
	}
	l.mu.Unlock()
	if !inHand {
		l.budget.release(bytes)
	}
	return inHand
}

func fetchError(ok bool, err error) error {
	if err == nil && !ok {
		return errors.New("fetch a large body: the lease is lost")
	}
	return fmt.Errorf("fetch a large body: %w", err)
}

func tooLarge(size, limit int64) *failure {
	return &failure{
		kind: "too_large", permanent: queues.DeadPermanent,
		message: fmt.Sprintf("the message body has %d bytes and a plugin takes at most %d", size, limit),
	}
}
