// Package trial runs one fault from the start of its world to the audit.
package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/chaos/internal/audit"
	"github.com/stephost/stephost/chaos/internal/fault"
	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/measure"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// Outcome is a fault's row.
type Outcome struct {
	Fault string
	audit.Report
	// Recovery is the time from the end of the fault to normal throughput; it is
	// negative when that never came.
	Recovery time.Duration
	// Evidence says what the fault did.
	Evidence string
	// Skipped says why this machine cannot have the fault; empty: it can.
	Skipped string
	// Problems are what must not have happened; empty: the row passed.
	Problems []string
	Took     time.Duration
}

// Run makes a world, injects the fault under load, and audits what is left. An
// error of the world is among the outcome's problems.
func Run(ctx context.Context, f fault.Fault, opts world.Options) Outcome {
	begun := time.Now()
	out := Outcome{Fault: f.Name, Recovery: -1}
	if f.Shape != nil {
		f.Shape(&opts)
	}
	err := run(ctx, f, opts, &out)
	if unavailable := (*fault.UnavailableError)(nil); errors.As(err, &unavailable) {
		out.Skipped = unavailable.Reason
	} else if err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	out.Took = time.Since(begun)
	return out
}

func run(ctx context.Context, f fault.Fault, opts world.Options, out *Outcome) error {
	w, err := world.New(ctx, opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	span, err := loaded(ctx, f, w, out)
	if err != nil {
		return err
	}
	if err := drain(ctx, w); err != nil {
		// The audit tells what is left.
		out.Problems = append(out.Problems, err.Error())
	}
	if err := w.StopHosts(ctx); err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	return examine(ctx, f, w, span, out)
}

// span is when things happened.
type span struct{ warm, fault, end, stop time.Time }

// loaded is the part of a run under load.
func loaded(ctx context.Context, f fault.Fault, w *world.World, out *Outcome) (s span, err error) {
	w.StartLoad()
	defer w.Load.Stop()
	// The first messages meet plans that are not prepared yet.
	if err := wait.For(ctx, w.Warmup/2); err != nil {
		return s, err
	}
	s.warm = time.Now()
	if err := wait.For(ctx, w.Warmup/2); err != nil {
		return s, err
	}
	usual, err := w.Backlog(ctx)
	if err != nil {
		return s, err
	}
	s.fault = time.Now()
	injecting, cancel := context.WithTimeoutCause(ctx, w.Patience+2*w.Hold+2*w.Lease, errors.New("the fault took too long"))
	defer cancel()
	out.Evidence, err = f.Inject(injecting, w)
	if s.end = w.OverAt(); s.end.IsZero() {
		s.end = time.Now()
	}
	if err == nil && out.Evidence == "" {
		err = errors.New("it shows no evidence that it happened")
	}
	if err != nil {
		// What is there is audited all the same.
		out.Problems = append(out.Problems, fmt.Sprintf("inject: %v", err))
	}
	if err := recovered(ctx, w, s, usual); err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	w.Load.Stop()
	s.stop = time.Now()
	return s, ctx.Err()
}

// recovered lets the load go on for its time, and then until the backlog is as
// before and a normal second has been seen.
func recovered(ctx context.Context, w *world.World, s span, usual int) error {
	if err := wait.For(ctx, w.After); err != nil {
		return err
	}
	return w.Until(ctx, "throughput is normal", func() (bool, error) {
		// To ask is no small query.
		if err := wait.For(ctx, 300*time.Millisecond); err != nil {
			return false, err
		}
		backlog, err := w.Backlog(ctx)
		if err != nil || backlog > usual+w.Rate/10 {
			return false, nil //nolint:nilerr // the database may still be coming back
		}
		flow, err := ledger.Flow(ctx, w.DB)
		if err != nil {
			return false, nil //nolint:nilerr // as above
		}
		_, normal := measure.Recovery(measure.Flow(flow), s.warm, s.fault, s.end, time.Now(), w.Rate)
		return normal, nil
	})
}

// drain waits until the queue is empty.
func drain(ctx context.Context, w *world.World) error {
	return w.Until(ctx, "the queue is empty", func() (bool, error) {
		backlog, err := w.Backlog(ctx)
		return backlog == 0, err
	})
}

// examine completes the ledger, audits and judges.
func examine(ctx context.Context, f fault.Fault, w *world.World, s span, out *Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	pooled, err := w.DB.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect for the audit: %w", err)
	}
	defer pooled.Release()
	conn := pooled.Conn()
	if err := ledger.Acknowledge(ctx, conn, w.Load.Acked()); err != nil {
		return err
	}
	if err := ledger.Import(ctx, conn, w.Journal); err != nil {
		return err
	}
	if out.Report, err = audit.Run(ctx, conn); err != nil {
		return err
	}
	if err := recovery(ctx, conn, w, s, out); err != nil {
		return err
	}
	out.judge(f.Cost)
	return nil
}

func recovery(ctx context.Context, conn *pgx.Conn, w *world.World, s span, out *Outcome) error {
	flow, err := ledger.Flow(ctx, conn)
	if err != nil {
		return err
	}
	took, normal := measure.Recovery(measure.Flow(flow), s.warm, s.fault, s.end, s.stop, w.Rate)
	if !normal {
		out.Problems = append(out.Problems, "normal throughput did not come back under load")
		return nil
	}
	out.Recovery = took
	return nil
}

// judge holds what was found against what the fault may cost.
func (o *Outcome) judge(cost fault.Cost) {
	if cost.Dead {
		o.Misjudged = 0
	}
	o.Problems = append(o.Problems, o.Breaches()...)
	if o.ExecutedAgain == 0 && cost.Again == fault.Must {
		o.Problems = append(o.Problems, "nothing was executed again: the fault has missed")
	}
	if o.ExecutedAgain > 0 && cost.Again == fault.Never {
		o.Problems = append(o.Problems, fmt.Sprintf("%d executed again (%s)", o.ExecutedAgain, o.Examples["executed again"]))
	}
	if o.Late > 0 && !cost.Late {
		o.Problems = append(o.Problems, fmt.Sprintf("%d executed after their settlement (%s)", o.Late, o.Examples["late"]))
	}
	if o.Messages == 0 {
		o.Problems = append(o.Problems, "no message was sent")
	}
}

// Passed tells whether the row is as it must be, or was skipped.
func (o Outcome) Passed() bool { return len(o.Problems) == 0 }

// Note is the evidence, or what went wrong, or why there is none.
func (o Outcome) Note() string {
	switch {
	case o.Skipped != "":
		return "skipped: " + o.Skipped
	case o.Passed():
		return o.Evidence
	}
	return "FAILED: " + strings.Join(o.Problems, "; ")
}
