package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// storms are faults at the same time and in any order.
func storms() []Fault {
	return []Fault{{
		Name:  "storm",
		About: "three hosts, and everything at once: plugins and hosts killed and frozen, backends terminated, PostgreSQL crashed",
		Shape: func(o *world.Options) { o.Hosts = 3 },
		Inject: func(ctx context.Context, w *world.World) (string, error) {
			s := storm{w: w, seed: uint64(time.Now().UnixNano()), counts: map[string]int{}}
			s.rand = rand.New(rand.NewPCG(s.seed, 0))
			return s.rage(ctx)
		},
		Cost: Cost{Again: Must, Late: true},
	}}
}

// storm does one thing after the other with little time between, and does not
// wait until the one before has been dealt with.
type storm struct {
	w      *world.World
	seed   uint64
	rand   *rand.Rand
	counts map[string]int
	frozen frozen
}

// frozen is the host that is stopped meanwhile, one at a time.
type frozen struct {
	host   *world.Host
	thawed chan struct{}
}

func (s *storm) rage(ctx context.Context) (string, error) {
	// A process that is stopped cannot be ended in order.
	defer s.thaw()
	blows := []struct {
		name string
		do   func(context.Context, *world.Host) error
	}{
		{"plugin killed", s.killPlugin},
		{"host killed", s.killHost},
		{"host frozen", s.freezeHost},
		{"host restarted", s.restartHost},
		{"backends terminated", s.terminate},
		{"PostgreSQL crashed", s.crash},
	}
	rounds := 0
	for end := time.Now().Add(2 * s.w.Hold); time.Now().Before(end) || rounds < len(blows); rounds++ {
		// Each once, in any order, before the next round of all.
		if rounds%len(blows) == 0 {
			s.rand.Shuffle(len(blows), func(i, j int) { blows[i], blows[j] = blows[j], blows[i] })
		}
		blow := blows[rounds%len(blows)]
		host := s.host()
		if err := blow.do(ctx, host); err != nil {
			return "", fmt.Errorf("seed %d: %s: %w", s.seed, blow.name, err)
		}
		s.counts[blow.name]++
		if err := wait.For(ctx, time.Duration(s.rand.IntN(500))*time.Millisecond); err != nil {
			return "", err
		}
	}
	s.thaw()
	s.w.Over()
	return s.evidence(), nil
}

// host picks one that is not frozen.
func (s *storm) host() *world.Host {
	at := s.rand.IntN(len(s.w.Hosts))
	if s.w.Hosts[at] == s.frozen.host {
		at = (at + 1) % len(s.w.Hosts)
	}
	return s.w.Hosts[at]
}

func (s *storm) evidence() string {
	var done []string
	for name, n := range s.counts {
		done = append(done, fmt.Sprintf("%s %d times", name, n))
	}
	slices.Sort(done)
	return strings.Join(done, ", ")
}

func (s *storm) killPlugin(ctx context.Context, h *world.Host) error {
	pids, err := h.PluginPIDs(ctx)
	for _, pid := range pids {
		// It may have ended for another reason meanwhile.
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return err
}

func (s *storm) killHost(ctx context.Context, h *world.Host) error {
	if err := h.Kill(ctx); err != nil {
		return err
	}
	return h.Start(ctx)
}

// freezeHost stops a host for longer than its leases, while the storm goes on
// around it.
func (s *storm) freezeHost(ctx context.Context, h *world.Host) error {
	s.thaw()
	tree, err := world.Tree(h.PID())
	if err != nil {
		return err
	}
	for _, pid := range tree {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	s.frozen = frozen{host: h, thawed: make(chan struct{})}
	go func(thawed chan struct{}) {
		defer close(thawed)
		_ = wait.For(ctx, s.w.Beyond())
		for _, pid := range tree {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}(s.frozen.thawed)
	return nil
}

// thaw waits for the end of the frost, if there is one.
func (s *storm) thaw() {
	if s.frozen.host != nil {
		<-s.frozen.thawed
		s.frozen = frozen{}
	}
}

func (s *storm) restartHost(ctx context.Context, h *world.Host) error {
	if err := h.Terminate(ctx); err != nil {
		return err
	}
	return h.Start(ctx)
}

// terminate ends every session but those of the driver.
func (s *storm) terminate(ctx context.Context, _ *world.Host) error {
	_, err := s.w.DB.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND application_name <> 'chaos' AND pid <> pg_backend_pid()`)
	return err
}

func (s *storm) crash(ctx context.Context, _ *world.Host) error {
	s.w.Postgres.Crash()
	if err := s.w.Postgres.Restart(ctx); err != nil {
		return err
	}
	// The driver's own connections notice when they are used.
	s.w.DB.Reset()
	return nil
}
