package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/stephost/stephost/host/supervisor/cgroup"
	"github.com/stephost/stephost/host/supervisor/shim"
)

const (
	// killTimeout is how long the kernel and the shim get for a kill.
	killTimeout = 5 * time.Second
	// pipeGrace is how long the output of an ended process is waited for when
	// somebody outside its group still holds it, and mostPipeGraces how often,
	// as long as there is some.
	pipeGrace      = 250 * time.Millisecond
	mostPipeGraces = 12
)

// child is a plugin's process behind its shim.
type child struct {
	pid    int
	shim   *exec.Cmd
	leash  *os.File
	stdout *os.File
	stderr *os.File
	leaf   *cgroup.Leaf // or nil

	// attached: somebody else has started it, and nobody here ends it. Then there
	// are only the pid and what tells of the end.
	attached bool

	letGo sync.Once
	end   sync.Once
	// exited is closed when the process has been reaped; exit is valid then.
	exited chan struct{}
	exit   shim.Exit
}

// launch is all that a process is started with.
type launch struct {
	shim []string
	prog program
	// args begin with the zeroth; env is all that the process gets.
	args, env []string
	setup     shim.Setup
	leaf      *cgroup.Leaf // or nil
	timeout   time.Duration
}

// startChild executes a program through the shim. The leaf belongs to the child
// when there is no error.
func startChild(l launch) (*child, error) {
	var pipes pipes
	defer pipes.closeTheirs()
	outR, outW := pipes.outgoing()
	errR, errW := pipes.outgoing()
	repR, repW := pipes.outgoing()
	leashR, leashW := pipes.incoming()
	if pipes.err != nil {
		pipes.closeOurs()
		return nil, fmt.Errorf("make pipes: %w", pipes.err)
	}

	extra := []*os.File{leashR, repW}
	if l.prog.file != nil {
		extra = append(extra, l.prog.file)
	}
	if l.leaf != nil {
		extra = append(extra, l.leaf.FD())
		l.setup.Cgroup = shim.LeashFD + len(extra) - 1
	}
	argv, err := shim.Arguments(l.setup, l.prog.path, l.args)
	if err != nil {
		pipes.closeOurs()
		return nil, err
	}
	cmd := exec.Command(l.shim[0], append(append([]string{}, l.shim[1:]...), argv...)...)
	cmd.Env = l.env
	cmd.Stdout, cmd.Stderr = outW, errW
	cmd.ExtraFiles = extra
	// A terminal's Ctrl-C must not reach the shim.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		pipes.closeOurs()
		return nil, fmt.Errorf("start the shim: %w", err)
	}
	pipes.closeTheirs()

	c := &child{shim: cmd, leash: leashW, stdout: outR, stderr: errR, leaf: l.leaf, exited: make(chan struct{})}
	report := shim.NewReport(repR, l.setup)
	_ = repR.SetReadDeadline(time.Now().Add(l.timeout))
	pid, err := report.Started()
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		pipes.closeOurs()
		return nil, err
	}
	_ = repR.SetReadDeadline(time.Time{})
	c.pid = pid
	go c.reap(report, repR)
	return c, nil
}

// reap waits for the end of the plugin and of the shim.
func (c *child) reap(report *shim.Report, pipe *os.File) {
	exit, err := report.Ended()
	_ = c.shim.Wait()
	_ = pipe.Close()
	if err != nil {
		// Somebody killed the shim; on Linux the plugin went with it, but the
		// rest of its group may not have.
		_ = syscall.Kill(-c.pid, syscall.SIGKILL)
		exit = shim.Exit{Signal: syscall.SIGKILL}
	}
	exit.OutOfMemory = c.leaf != nil && c.leaf.OutOfMemory()
	c.ended(exit)
}

// ended publishes the end; the first one counts.
func (c *child) ended(exit shim.Exit) {
	c.end.Do(func() {
		c.exit = exit
		deadline := time.Now().Add(pipeGrace)
		_ = c.stdout.SetReadDeadline(deadline)
		_ = c.stderr.SetReadDeadline(deadline)
		close(c.exited)
	})
}

// lastWords reads the output of a process, and after its end what is left of
// it: a deadline ends also the reading of what is there already.
type lastWords struct {
	pipe *os.File
	// read says that there was something since the last deadline.
	read   bool
	graces int
}

func (l *lastWords) Read(p []byte) (int, error) {
	for {
		n, err := l.pipe.Read(p)
		if n > 0 {
			l.read = true
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !l.read || l.graces == mostPipeGraces {
			return n, err
		}
		l.read = false
		l.graces++
		if err := l.pipe.SetReadDeadline(time.Now().Add(pipeGrace)); err != nil {
			return 0, err
		}
	}
}

// giveUp treats a process as ended that the kernel does not let go of. Its
// reaper stays until the kernel does.
func (c *child) giveUp() { c.ended(shim.Exit{Signal: syscall.SIGKILL}) }

// terminate sends SIGTERM to the group.
func (c *child) terminate() {
	_ = c.leash.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.leash.Write([]byte{shim.LeashTerminate})
}

// kill ends the whole group, and cgroup, by SIGKILL and waits until the process
// is reaped.
func (c *child) kill() error {
	if c.attached {
		c.ended(shim.Exit{})
		return nil
	}
	c.letGo.Do(func() { _ = c.leash.Close() })
	if !c.wait(killTimeout) {
		// A shim that does not act is stopped or stuck; the kernel passes its
		// death on.
		_ = c.shim.Process.Kill()
		if !c.wait(killTimeout) {
			return errors.New("the process does not end, although it was killed")
		}
	}
	if c.leaf == nil {
		return nil
	}
	return c.leaf.Remove()
}

func (c *child) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.exited:
		return true
	case <-t.C:
		return false
	}
}

// running reports whether the process has not been reaped yet.
func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// pipes makes pipes and remembers what to close on which side.
type pipes struct {
	ours, theirs []*os.File
	err          error
}

// outgoing is a pipe from the shim to the host.
func (p *pipes) outgoing() (r, w *os.File) {
	if p.err != nil {
		return nil, nil
	}
	r, w, p.err = os.Pipe()
	if p.err == nil {
		p.ours, p.theirs = append(p.ours, r), append(p.theirs, w)
	}
	return r, w
}

// incoming is a pipe from the host to the shim.
func (p *pipes) incoming() (r, w *os.File) {
	if p.err != nil {
		return nil, nil
	}
	r, w, p.err = os.Pipe()
	if p.err == nil {
		p.ours, p.theirs = append(p.ours, w), append(p.theirs, r)
	}
	return r, w
}

func (p *pipes) closeOurs() { closeAll(&p.ours) }

func (p *pipes) closeTheirs() { closeAll(&p.theirs) }

func closeAll(files *[]*os.File) {
	for _, f := range *files {
		_ = f.Close()
	}
	*files = nil
}
