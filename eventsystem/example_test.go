package eventsystem_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stephost/stephost/eventsystem"
)

// reading is the event of the example: a thermometer's value.
type reading struct {
	Room    string
	Celsius float64
}

// thermostatConfig has what a thermostat needs to know.
type thermostatConfig struct{ Target float64 }

// thermostat is an event system that has nothing to do with queues. It listens
// to a channel of readings; there is nothing to poll.
type thermostat struct {
	cfg      thermostatConfig
	readings <-chan reading
	heat     func(room string)

	recorder    *eventsystem.Recorder
	broadcaster eventsystem.Broadcaster

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

var _ eventsystem.System[reading, thermostatConfig, eventsystem.Statistics] = (*thermostat)(nil)

func (s *thermostat) ID() string               { return "thermostat" }
func (s *thermostat) Mode() eventsystem.Mode   { return eventsystem.EventDrivenOnly }
func (s *thermostat) Config() thermostatConfig { return s.cfg }
func (s *thermostat) Subscribe(buffer int) (<-chan eventsystem.Notification, func()) {
	return s.broadcaster.Subscribe(buffer)
}

func (s *thermostat) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done != nil
}

func (s *thermostat) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return errors.New("thermostat runs already")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.cancel, s.done = cancel, done
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case event := <-s.readings:
				// The failure has been counted and published.
				_ = s.ProcessEvent(ctx, event)
			}
		}
	}()
	s.broadcaster.Publish(eventsystem.Started{Mode: s.Mode()})
	return nil
}

func (s *thermostat) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		return nil
	}
	s.cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.done = nil
	s.broadcaster.Publish(eventsystem.Stopped{})
	return nil
}

func (s *thermostat) ProcessEvent(_ context.Context, event reading) error {
	began := time.Now()
	var err error
	switch {
	case event.Celsius < -273.15:
		err = fmt.Errorf("room %s: %.1f °C cannot be", event.Room, event.Celsius)
		s.broadcaster.Publish(eventsystem.EventFailed{Err: err})
	default:
		if event.Celsius < s.cfg.Target {
			s.heat(event.Room)
		}
		s.broadcaster.Publish(eventsystem.EventProcessed{Latency: time.Since(began)})
	}
	s.recorder.Record("reading", "channel", time.Since(began), err != nil)
	return err
}

func (s *thermostat) Statistics() eventsystem.Statistics { return s.recorder.Snapshot() }

func (s *thermostat) Health(ctx context.Context) eventsystem.Health {
	return eventsystem.Assess(ctx, s.recorder.Window(), []eventsystem.Probe{
		func(context.Context) eventsystem.ComponentHealth {
			if !s.Running() {
				return eventsystem.ComponentHealth{Name: "loop", Status: eventsystem.Critical, Reason: "the thermostat does not run"}
			}
			return eventsystem.ComponentHealth{Name: "loop"}
		},
	})
}

// Another kind of event system is built from Recorder, Broadcaster and Assess.
func Example() {
	readings := make(chan reading)
	s := &thermostat{
		cfg: thermostatConfig{Target: 20}, readings: readings,
		heat:     func(room string) { fmt.Println("heating", room) },
		recorder: eventsystem.NewRecorder(),
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	notes, unsubscribe := s.Subscribe(16)
	defer unsubscribe()
	if err := s.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	<-notes // started

	for _, event := range []reading{{"kitchen", 17.5}, {"bath", 24}, {"cellar", -300}} {
		readings <- event
		if failed, ok := (<-notes).(eventsystem.EventFailed); ok {
			fmt.Println("failed:", failed.Err)
		}
	}
	if err := s.Stop(ctx); err != nil {
		fmt.Println(err)
	}
	stats := s.Statistics()
	fmt.Printf("%d processed, %d failed\n", stats.EventsProcessed, stats.EventsFailed)
	for _, reason := range s.Health(ctx).Reasons {
		fmt.Println(reason)
	}

	// Output:
	// heating kitchen
	// failed: room cellar: -300.0 °C cannot be
	// 2 processed, 1 failed
	// loop: the thermostat does not run
	// events: 1 of 3 events failed or were too slow in the last 0s
}
