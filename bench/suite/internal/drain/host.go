package drain

import (
	"context"
	"fmt"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// hostSetting is what a host is started with.
type hostSetting struct {
	slots, batch int
	work         pgmqQueue
}

func (s hostSetting) contender() contender {
	return contender{
		label: fmt.Sprintf("stephost, %d slots, batch %d", s.slots, s.batch),
		work:  s.work,
		start: func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error) {
			config := hostproc.Config{DSN: db.DSN, Plugin: env.Programs.Noop, Slots: s.slots, Batch: s.batch}
			if s.work.deleted {
				config.OnComplete = "delete"
			}
			if s.work.results {
				config.ResultQueue = hostproc.ResultQueue
			}
			h, err := hostproc.Start(ctx, env, config.HCL())
			if err != nil {
				return nil, err
			}
			return &hostRunner{Host: h}, nil
		},
	}
}

// hostRunner is a host that is paused until it is to drain.
type hostRunner struct {
	*hostproc.Host
	warmed int
}

func (r *hostRunner) PIDs() []int { return []int{r.PID()} }

func (r *hostRunner) Warm(ctx context.Context, steps int) error {
	if err := r.WaitSucceeded(ctx, hostproc.Namespace, steps); err != nil {
		return err
	}
	r.warmed = steps
	_, err := r.Admin.SetPaused(ctx, hostproc.Namespace, true)
	return err
}

func (r *hostRunner) Drain(ctx context.Context, steps int) error {
	if _, err := r.Admin.SetPaused(ctx, hostproc.Namespace, false); err != nil {
		return err
	}
	return r.WaitSucceeded(ctx, hostproc.Namespace, r.warmed+steps)
}
