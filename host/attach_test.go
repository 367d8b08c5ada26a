package host_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/internal/syncbuf"
)

// debugged is the test plugin, started by hand.
type debugged struct {
	*exec.Cmd
	log  *syncbuf.Buffer
	done chan error
	// tmp is where it makes its socket.
	tmp string
}

func (b *bundle) debug(target string) *debugged {
	b.t.Helper()
	path, err := testPlugin()
	require.NoError(b.t, err)
	d := &debugged{Cmd: exec.Command(path), log: &syncbuf.Buffer{}, done: make(chan error, 1), tmp: b.t.TempDir()}
	d.Env = append(os.Environ(), "STEPHOST_ATTACH="+target, "TMPDIR="+d.tmp)
	d.Stderr = d.log
	require.NoError(b.t, d.Start())
	go func() { d.done <- d.Wait() }()
	b.t.Cleanup(func() {
		_ = d.Process.Kill()
		if b.t.Failed() {
			b.t.Log(d.log)
		}
	})
	return d
}

// exits waits for the end of the process.
func (d *debugged) exits(t *testing.T) error {
	t.Helper()
	select {
	case err := <-d.done:
		return err
	case <-time.After(patience):
		require.FailNow(t, "it does not end", d.log.String())
		return nil
	}
}

// servedBy waits until the plugin's steps go to a process.
func (b *bundle) servedBy(pid func(int) bool) {
	b.t.Helper()
	b.eventually("that process serves", func() bool {
		p := b.plugin()
		return p.State == string(supervisor.StateReady) && len(p.Instances) == 1 && pid(p.Instances[0].PID)
	})
}

func TestDebuggedPluginAttaches(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{
		allowAttach: true,
		host:        "shutdown {\n kill_timeout = \"50ms\"\n }",
		events:      "fallback_poller {\n visibility_timeout = \"1s\"\n }",
		plugin:      "config {\n word = \"mine\"\n }",
		a:           `timeout = "50ms"`,
	})
	b.run()
	require.NoError(t, b.WaitReady(t.Context()))
	own := b.plugin().Instances[0].PID

	d := b.debug("test@" + b.AdminAddr())
	b.servedBy(func(pid int) bool { return pid == d.Process.Pid })
	requireNoProcess(t, own)
	b.eventually("nothing is left behind, however it ends", func() bool {
		left, err := os.ReadDir(d.tmp)
		return err == nil && len(left) == 0
	})
	b.send("a_queue", `{"config": true}`)
	b.results(1)

	// The step is paused for longer than its lease, its timeout, and what a
	// handler that ignores its cancellation gets.
	b.send("a_queue", b.waiting())
	b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
	require.NoError(t, d.Process.Signal(syscall.SIGSTOP))
	b.eventually("the lease has been extended twice", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > enqueued_at + interval '2200 ms'`) == 1
	})
	b.touch("go")
	require.NoError(t, d.Process.Signal(syscall.SIGCONT))
	b.results(2)
	require.Equal(t, []int{d.Process.Pid}, b.runs("log"), "the step ran once")
	require.Equal(t, 2, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'status' = 'completed'`))

	// The developer ends it in the middle of a step: that is not the message's
	// fault, and the host's own program runs it.
	b.send("a_queue", `{"log": "`+b.path("second")+`", "until": "`+b.path("third")+`"}`)
	b.eventually("it runs", func() bool { return len(b.runs("second")) == 1 })
	require.NoError(t, d.Process.Kill())
	b.servedBy(func(pid int) bool { return pid != 0 && pid != d.Process.Pid })
	b.touch("third")
	b.results(3)
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
}

func TestDebuggedPluginFollowsTheHost(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{allowAttach: true})
	b.run()
	require.NoError(t, b.WaitReady(t.Context()))
	d := b.debug("test@" + b.AdminAddr())
	b.servedBy(func(pid int) bool { return pid == d.Process.Pid })

	// A new version of the program does not disturb it.
	generation := b.plugin().Generation
	swapped, err := b.ProgramChanged(t.Context(), "test")
	require.NoError(t, err)
	require.False(t, swapped, "it follows the attached process")
	require.Equal(t, generation, b.plugin().Generation)

	// A swap lets go of it, and it comes back.
	_, err = b.ReloadPlugin(t.Context(), "test")
	require.NoError(t, err)
	b.servedBy(func(pid int) bool { return pid == d.Process.Pid })
	require.Greater(t, b.plugin().Generation, generation+1)

	// An interrupt ends it, and nothing of it is left behind.
	require.NoError(t, d.Process.Signal(os.Interrupt))
	require.NoError(t, d.exits(t))
	b.servedBy(func(pid int) bool { return pid != 0 && pid != d.Process.Pid })

	b.drained()
}

func TestOnlyDevTakesDebuggedPlugins(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{})
	b.run()
	require.NoError(t, b.WaitReady(t.Context()))
	d := b.debug("test@" + b.AdminAddr())
	require.Error(t, d.exits(t))
	require.Equal(t, 1, d.ProcessState.ExitCode())
	require.Contains(t, d.log.String(), "only `stephost dev` takes plugins from a debugger")
}

func TestDebuggedPluginSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{allowAttach: true, plugin: "config {\n refuse = true\n }"})
	b.run()
	b.eventually("the host serves", func() bool { return b.AdminAddr() != "" })

	t.Run("another name", func(t *testing.T) {
		d := b.debug("tset@" + b.AdminAddr())
		require.Error(t, d.exits(t))
		require.Contains(t, d.log.String(), "not found: this host has test")
	})
	t.Run("no address", func(t *testing.T) {
		for _, target := range []string{"test@", "test@nowhere", "@127.0.0.1:1"} {
			d := b.debug(target)
			require.Error(t, d.exits(t))
			require.Contains(t, d.log.String(), "neither NAME nor NAME@HOST:PORT")
		}
	})
	t.Run("no host", func(t *testing.T) {
		d := b.debug("test@127.0.0.1:1")
		b.eventually("it waits", func() bool { return strings.Contains(d.log.String(), "no host answers at 127.0.0.1:1") })
	})
	t.Run("its configuration is refused", func(t *testing.T) {
		d := b.debug("test@" + b.AdminAddr())
		b.eventually("it says so", func() bool { return strings.Contains(d.log.String(), "refused as asked") })
		require.Empty(t, d.done, "it waits for a better configuration")
	})
}

func requireNoProcess(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, patience, time.Millisecond)
}
