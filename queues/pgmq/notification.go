package pgmq

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/queues"
)

const (
	channelCreated = "pgmq_queue_created"
	maxPayload     = 256
	maxDelay       = 10 * 365 * 24 * time.Hour
)

// router turns notifications into events for the queues that were asked for.
type router struct {
	byChannel map[string][]string // pgmq's channels
	byName    map[string][]string // lower-cased names
	tasker    []string

	// tasker announces each message on two channels. The second one is known by
	// its sender and its text.
	last pgconn.Notification
}

func newRouter(names []string, pgmq, tasker bool, namespaceOf func(string) string) *router {
	r := &router{byChannel: map[string][]string{}, byName: map[string][]string{}}
	for _, name := range names {
		lower := strings.ToLower(name)
		if slices.Contains(r.byName[lower], name) {
			continue
		}
		r.byName[lower] = append(r.byName[lower], name)
		if pgmq {
			r.add(insertChannel(lower), name)
			if lower != name {
				// What pgmq 1.13.1 announces, after it had announced nothing.
				r.add(insertChannel(name), name)
			}
		}
		if tasker {
			_, own := taskerChannels(namespaceOf(name))
			if len(own) <= maxChannel && !slices.Contains(r.tasker, own) {
				r.tasker = append(r.tasker, own)
			}
		}
	}
	if tasker {
		global, _ := taskerChannels("")
		r.tasker = append(r.tasker, global, channelCreated)
	}
	return r
}

func (r *router) add(channel, name string) {
	if len(channel) <= maxChannel {
		r.byChannel[channel] = append(r.byChannel[channel], name)
	}
}

func (r *router) channels() []string {
	channels := slices.Clone(r.tasker)
	for channel := range r.byChannel {
		channels = append(channels, channel)
	}
	slices.Sort(channels)
	return channels
}

// events are what a notification means. None, when it is about a queue that
// nobody asked for or the second announcement of the same message.
func (r *router) events(n *pgconn.Notification) []queues.Event {
	now := time.Now()
	if names, ok := r.byChannel[n.Channel]; ok {
		return ready(names, queues.Event{Count: 1, ReceivedAt: now})
	}
	if strings.HasPrefix(n.Channel, insertPrefix) {
		return nil // on its way when its channel was given up
	}
	if r.last.Channel != "" && n.PID == r.last.PID && n.Payload == r.last.Payload && n.Channel != r.last.Channel {
		r.last = pgconn.Notification{}
		return nil
	}
	r.last = *n
	return r.parse(n.Payload, now)
}

func ready(names []string, event queues.Event) []queues.Event {
	events := make([]queues.Event, len(names))
	for i, name := range names {
		event.Kind, event.Source, event.Queue = queues.EventStepReady, queues.SourceNotification, name
		events[i] = event
	}
	return events
}

// announcement is what tasker's payloads have in common. The message that one
// of them carries is not looked at: only a claim makes it ours.
type announcement struct {
	Type    string  `json:"event_type"`
	Queue   string  `json:"queue_name"`
	ID      int64   `json:"msg_id"`
	IDs     []int64 `json:"msg_ids"`
	Count   int64   `json:"message_count"`
	Seconds float64 `json:"delay_seconds"`
}

func (r *router) parse(payload string, now time.Time) []queues.Event {
	var a announcement
	if err := json.Unmarshal([]byte(payload), &a); err != nil || a.Queue == "" {
		return unknown(payload, now)
	}
	event := queues.Event{Count: 1, ReceivedAt: now, Delay: delayOf(a.Seconds)}
	switch a.Type {
	case "message_ready", "message_with_payload":
		event.MessageID = max(0, a.ID)
	case "batch_ready":
		event.Count = int(min(max(1, a.Count, int64(len(a.IDs))), math.MaxInt32))
	case "queue_created":
		return []queues.Event{{Kind: queues.EventQueueCreated, Source: queues.SourceNotification, Queue: a.Queue, Count: 1, ReceivedAt: now}}
	default:
		return unknown(payload, now)
	}
	return ready(r.byName[strings.ToLower(a.Queue)], event)
}

func delayOf(seconds float64) time.Duration {
	switch {
	case !(seconds > 0):
		return 0
	case seconds >= maxDelay.Seconds():
		return maxDelay
	}
	return time.Duration(seconds * float64(time.Second))
}

func unknown(payload string, now time.Time) []queues.Event {
	return []queues.Event{{
		Kind: queues.EventUnknown, Source: queues.SourceNotification, Count: 1, ReceivedAt: now,
		Payload: strings.ToValidUTF8(payload[:min(len(payload), maxPayload)], ""),
	}}
}

// backlog keeps events until they are received. Past a bound, events that say
// the same are added up, so that it holds a few events for each queue at most.
type backlog struct{ events []queues.Event }

const backlogBound = 1024

func (b *backlog) next() (queues.Event, bool) {
	if len(b.events) == 0 {
		return queues.Event{}, false
	}
	event := b.events[0]
	b.events = b.events[1:]
	return event, true
}

func (b *backlog) add(event queues.Event) {
	if len(b.events) >= backlogBound {
		for i := range b.events {
			have := &b.events[i]
			if have.Kind == event.Kind && (have.Queue == event.Queue || event.Kind != queues.EventStepReady) && (have.Delay > 0) == (event.Delay > 0) {
				have.Count += event.Count
				have.Delay = min(have.Delay, event.Delay)
				have.MessageID = 0
				return
			}
		}
	}
	b.events = append(b.events, event)
}
