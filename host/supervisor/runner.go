package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/stephost/stephost/host/supervisor/pluginlog"
)

// pluginRunner is the process as go-plugin sees it. It shows go-plugin nothing
// but the handshake line: its parser of stderr can panic, and its reader of
// stdout stops at a long line.
type pluginRunner struct {
	spec   *Spec
	deps   *Deps
	env    []string
	prog   program
	log    hclog.Logger
	output *pluginlog.Output

	isolation *isolation
	socketDir string
	child     *child

	handshakeR *io.PipeReader
	handshakeW *io.PipeWriter

	mu        sync.Mutex
	why       error
	handshake Handshake
}

var _ runner.Runner = (*pluginRunner)(nil)

// prepare takes what go-plugin wants the process to be told.
func (r *pluginRunner) prepare(cmd *exec.Cmd, socketDir string) error {
	r.socketDir = socketDir
	// The name that go-plugin's server makes up in there.
	const example = "/plugin4294967295"
	if have, most := len(socketDir)+len(example), maxSocketPath(); have > most {
		return r.fail(fmt.Errorf("the path of its socket, %s, has %d bytes and the system allows %d: set TMPDIR to a shorter directory",
			socketDir+example, have, most))
	}
	var err error
	if r.isolation, err = r.spec.isolate(); err != nil {
		return r.fail(err)
	}
	// The plugin makes its socket in there.
	if err := r.isolation.own(socketDir); err != nil {
		return r.fail(fmt.Errorf("give the plugin its socket directory: %w", err))
	}
	r.env = cmd.Env
	r.handshakeR, r.handshakeW = io.Pipe()
	return nil
}

// maxSocketPath is the size of sun_path without its final zero.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// Start executes the program.
func (r *pluginRunner) Start(context.Context) error {
	c, err := r.isolation.start(r.deps, r.prog, r.env, r.log)
	if err != nil {
		return r.fail(err)
	}
	r.mu.Lock()
	r.child = c
	r.mu.Unlock()
	r.log = r.log.With("pid", c.pid)
	r.output.SetLogger(r.log)
	r.output.Read(&lastWords{pipe: c.stderr}, pluginlog.Stderr, nil)
	r.output.Read(&lastWords{pipe: c.stdout}, pluginlog.Stdout, r.takeHandshake)
	return nil
}

// takeHandshake passes the handshake line to go-plugin. What follows it is for
// the log.
func (r *pluginRunner) takeHandshake(stdout *bufio.Reader) {
	handshake, err := readHandshake(stdout, !r.spec.DisableTLS)
	if err != nil {
		_ = r.fail(err)
	} else {
		r.mu.Lock()
		r.handshake = handshake
		r.mu.Unlock()
		_, _ = io.Copy(r.handshakeW, strings.NewReader(handshake.Line+"\n"))
	}
	_ = r.handshakeW.Close()
}

// fail records the first reason for a failed start and returns it.
func (r *pluginRunner) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == nil {
		r.why = err
	}
	return r.why
}

// reason is why the start failed, as this side saw it.
func (r *pluginRunner) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// process is nil where none has been started.
func (r *pluginRunner) process() *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.child
}

// introduced is the handshake; zero before it has come.
func (r *pluginRunner) introduced() Handshake {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handshake
}

// pid is 0 where no process has been started.
func (r *pluginRunner) pid() int {
	if c := r.process(); c != nil {
		return c.pid
	}
	return 0
}

// Stdout has the handshake line.
func (r *pluginRunner) Stdout() io.ReadCloser { return r.handshakeR }

// Stderr is empty.
func (r *pluginRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the command.
func (r *pluginRunner) Name() string { return r.spec.Command }

// ID is the process id.
func (r *pluginRunner) ID() string { return strconv.Itoa(r.pid()) }

// Diagnose has nothing to add: errors are explained on this side.
func (r *pluginRunner) Diagnose(context.Context) string { return "" }

// Wait returns when the process has been reaped, whoever holds its pipes.
func (r *pluginRunner) Wait(context.Context) error {
	<-r.child.exited
	return nil
}

// Kill ends the group.
func (r *pluginRunner) Kill(context.Context) error {
	c := r.process()
	if c == nil {
		return errors.New("no process")
	}
	return c.kill()
}

// PluginToHost and HostToPlugin see the same addresses.
func (r *pluginRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is the identity.
func (r *pluginRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
