package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/stephost/stephost/host/supervisor/shim"
)

// maxByHandOutput bounds what is kept of an execution's output.
const maxByHandOutput = 64 << 10

// Execution is what became of a program that was executed without a host's
// handshake.
type Execution struct {
	// Ended tells whether it ended by itself; Exit is valid then.
	Ended bool
	Exit  shim.Exit
	// Stdout and Stderr are what it wrote, the first 64 KiB of each.
	Stdout, Stderr string
}

// ExecuteByHand executes the program as somebody does who does not know that
// it is a plugin: without the magic cookie and what else a host puts into the
// environment. It waits until the process ends, and kills its group when ctx
// ends first. The error is about the execution itself.
func ExecuteByHand(ctx context.Context, spec Spec, deps Deps) (Execution, error) {
	if err := errors.Join(spec.complete(), deps.complete()); err != nil {
		return Execution{}, fmt.Errorf("execute plugin %q: %w", spec.Name, err)
	}
	prog, err := openProgram(spec.Command, spec.SHA256)
	if err != nil {
		return Execution{}, err
	}
	defer prog.close()
	isolation, err := spec.isolate()
	if err != nil {
		return Execution{}, err
	}
	c, err := isolation.start(&deps, prog, nil, deps.Logger)
	if err != nil {
		return Execution{}, err
	}
	var (
		readers        sync.WaitGroup
		stdout, stderr firstBytes
		byHand         Execution
	)
	readers.Go(func() { stdout.read(c.stdout) })
	readers.Go(func() { stderr.read(c.stderr) })
	select {
	case <-c.exited:
		byHand.Ended = true
	case <-ctx.Done():
	}
	err = c.kill()
	if err != nil {
		c.giveUp()
	}
	readers.Wait()
	_ = c.stdout.Close()
	_ = c.stderr.Close()
	byHand.Exit = c.exit
	byHand.Stdout, byHand.Stderr = stdout.String(), stderr.String()
	return byHand, err
}

// firstBytes keeps the beginning of what it reads.
type firstBytes struct{ bytes.Buffer }

func (f *firstBytes) read(r *os.File) {
	_, _ = io.CopyN(f, r, maxByHandOutput)
	_, _ = io.Copy(io.Discard, r)
}
