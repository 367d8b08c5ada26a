// Command handler is the plugin of the chaos runs. It does what the message says
// and notes in a journal when each execution begins and how it ends.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/plugin/sdk"
)

// configuration is the plugin's config block.
type configuration struct {
	Journal string `hcl:"journal"`
	// Edition changes nothing but the configuration, for reloads.
	Edition string `hcl:"edition,optional"`
	// Leak is how many bytes each step leaks, so that a soak can be seen to fail.
	Leak int `hcl:"leak,optional"`
}

func main() {
	sdk.MainWith(func(_ context.Context, cfg configuration) (*sdk.Plugin, error) {
		journal, err := ledger.OpenJournal(cfg.Journal)
		if err != nil {
			return nil, sdk.FieldError("journal", err)
		}
		w := &worker{journal: journal, path: cfg.Journal, process: fmt.Sprintf("%d-%d-", os.Getpid(), time.Now().UnixNano()), leak: cfg.Leak}
		return sdk.New(sdk.Handle("work", w.work, sdk.Default())), nil
	})
}

// worker executes the messages of one process.
type worker struct {
	journal *ledger.Journal
	path    string
	process string
	count   atomic.Int64

	leak   int
	mu     sync.Mutex
	leaked [][]byte
}

func (w *worker) work(ctx context.Context, in ledger.Message) (map[string]int64, error) {
	line := ledger.Line{
		ID: in.ID, Attempt: sdk.StepInfo(ctx).Attempt, PID: os.Getpid(), At: time.Now(),
		Execution: w.process + strconv.FormatInt(w.count.Add(1), 10),
	}
	if err := w.journal.Write(line); err != nil {
		return nil, fmt.Errorf("note the beginning: %w", err)
	}
	if in.Emit {
		if err := sdk.Emit(ctx, sdk.ToQueue(ledger.EmitQueue), map[string]int64{"id": in.ID}); err != nil {
			return nil, fmt.Errorf("emit: %w", err)
		}
	}
	end := func(outcome ledger.Outcome) error {
		line.At, line.Outcome = time.Now(), outcome
		return w.journal.Write(line)
	}
	w.leakSome()
	outcome, err := w.do(ctx, in, line.Attempt)
	if noted := end(outcome); noted != nil {
		return nil, fmt.Errorf("note the end: %w", noted)
	}
	switch outcome {
	case ledger.Panicked:
		panic("as asked")
	case ledger.Exited:
		os.Exit(3)
	default:
	}
	return map[string]int64{"id": in.ID}, err
}

func (w *worker) leakSome() {
	if w.leak == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Pages that were never written would not be resident.
	w.leaked = append(w.leaked, bytes.Repeat([]byte{1}, w.leak))
}

// do works and tells what is to happen then.
func (w *worker) do(ctx context.Context, in ledger.Message, attempt int) (ledger.Outcome, error) {
	work := time.NewTimer(time.Duration(in.Milliseconds) * time.Millisecond)
	defer work.Stop()
	select {
	case <-work.C:
	case <-ctx.Done():
		return ledger.Cancelled, context.Cause(ctx)
	}
	switch in.Do {
	case ledger.Poison:
		return ledger.Exited, nil
	case ledger.Exit:
		// A crash is no attempt, so the journal tells how often it was one.
		executions, err := ledger.Executions(w.path, in.ID)
		if err != nil {
			return ledger.Failed, err
		}
		attempt = executions
	default:
	}
	if in.Do == ledger.OK || attempt > in.Times {
		return ledger.Succeeded, nil
	}
	switch in.Do {
	case ledger.Panic:
		return ledger.Panicked, nil
	case ledger.Exit:
		return ledger.Exited, nil
	case ledger.Hang:
		time.Sleep(time.Duration(in.Stubborn) * time.Millisecond)
		return ledger.Outlasted, nil
	default:
		return ledger.Failed, errors.New("failed as asked")
	}
}
