package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/internal/syncbuf"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// patience bounds every wait of the process tests; nothing depends on its
// length.
const patience = 90 * time.Second

// stepsPlugin is a plugin whose handlers take as long as their input says.
func stepsPlugin() {
	type input struct {
		// Began is a file that is made when the handler begins; Until is one that
		// it waits for, and Told one that it makes when it is cancelled. It waits
		// all the same.
		Began, Until, Told string
		Milliseconds       int
		// Noise is how many long lines it logs.
		Noise int
	}
	sdk.Main(sdk.Handle("work", func(ctx context.Context, in input) (any, error) {
		mark := func(path string) {
			if path != "" {
				_ = os.WriteFile(path, nil, 0o600)
			}
		}
		mark(in.Began)
		for range in.Noise {
			fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 2000))
		}
		time.Sleep(time.Duration(in.Milliseconds) * time.Millisecond)
		for in.Until != "" {
			if _, err := os.Stat(in.Until); err == nil {
				break
			}
			if ctx.Err() != nil {
				mark(in.Told)
			}
			time.Sleep(time.Millisecond)
		}
		return map[string]int{"pid": os.Getpid()}, nil
	}, sdk.Default()))
}

// running is a `stephost run` in a process of its own.
type running struct {
	t   *testing.T
	cmd *exec.Cmd
	log *syncbuf.Buffer
	// reading keeps the log from being read while it is locked.
	reading sync.RWMutex
	admin   *admin.Client
	file    string // its configuration

	ended chan struct{}
}

// newQueues makes a database with the queues of runHost's configuration.
func newQueues(t *testing.T) (dsn string, db *pgx.Conn) {
	t.Helper()
	dsn = devpgtest.Cluster(t, nil).DSN("postgres")
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	_, err = schema.Install(t.Context(), db)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), `SELECT pgmq.create(q) FROM unnest(ARRAY['work_queue', 'work_dead', 'results']) q`)
	require.NoError(t, err)
	return dsn, db
}

// runHost starts a host and waits until it and its plugin are ready. shutdown
// is the body of that block.
func runHost(t *testing.T, dsn, shutdown string) *running {
	t.Helper()
	plugin, err := exec.LookPath("steps-plugin")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "config.hcl")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
host {
  admin { listen = "127.0.0.1:0" }
  shutdown {
%s
  }
}
queue "pgmq" {
  dsn = %q
}
event_system {
  fallback_poller {
    polling_interval   = "200ms"
    visibility_timeout = "2s"
  }
}
plugin "steps" {
  command   = %q
  instances = 2
}
namespace "work" {
  plugin       = "steps"
  concurrency  = 8
  result_queue = "results"
}
`, shutdown, dsn, plugin), 0o600))

	r := &running{t: t, log: &syncbuf.Buffer{}, file: file, ended: make(chan struct{})}
	r.cmd = exec.Command("stephost", "run", "--config", file)
	r.cmd.Env = append(os.Environ(), quickExit)
	r.cmd.Stderr = writerFunc(func(p []byte) (int, error) {
		r.reading.RLock()
		defer r.reading.RUnlock()
		return r.log.Write(p)
	})
	require.NoError(t, r.cmd.Start())
	go func() {
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if t.Failed() {
			t.Log(r.log)
		}
	})
	serves := regexp.MustCompile(`host serves: .*admin=(\S+)`)
	r.eventually("the host serves or exits", func() bool {
		select {
		case <-r.ended:
			return true
		default:
			return serves.MatchString(r.log.String())
		}
	})
	require.Regexp(t, serves, r.log.String())
	r.admin, err = admin.NewClient(serves.FindStringSubmatch(r.log.String())[1], "")
	require.NoError(t, err)
	r.eventually("the plugin is ready", func() bool {
		return !slices.ContainsFunc(r.status().Plugins[0].Instances, func(i admin.Instance) bool { return i.State != "ready" })
	})
	return r
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (r *running) status() admin.Status {
	r.t.Helper()
	status, err := r.admin.Status(r.t.Context())
	require.NoError(r.t, err)
	return status
}

// pluginPIDs are the processes of the plugin.
func (r *running) pluginPIDs() []int {
	r.t.Helper()
	var pids []int
	for _, i := range r.status().Plugins[0].Instances {
		require.Positive(r.t, i.PID)
		pids = append(pids, i.PID)
	}
	require.Len(r.t, pids, 2)
	return pids
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Signal(s))
}

// exits waits for the end of the host and returns its exit code.
func (r *running) exits() int {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		require.FailNow(r.t, "the host did not exit")
		return 0
	}
}

func (r *running) eventually(what string, check func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(r.t, "it did not happen: "+what)
		}
	}
}

func (r *running) appears(path string) {
	r.t.Helper()
	r.eventually(filepath.Base(path), func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// gone waits for the end of processes that nobody here is the parent of.
func (r *running) gone(pids []int) {
	r.t.Helper()
	for _, pid := range pids {
		r.eventually(fmt.Sprintf("process %d ends", pid), func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	}
}

func count(t *testing.T, db *pgx.Conn, query string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), query).Scan(&n))
	return n
}

func TestTermLetsStepsFinish(t *testing.T) {
	t.Parallel()
	dsn, db := newQueues(t)
	began, until := filepath.Join(t.TempDir(), "began"), filepath.Join(t.TempDir(), "until")
	_, err := db.Exec(t.Context(), `SELECT pgmq.send('work_queue', jsonb_build_object('Began', $1::text, 'Until', $2::text))`, began, until)
	require.NoError(t, err)
	r := runHost(t, dsn, `drain_timeout = "10m"`)
	pids := r.pluginPIDs()
	r.appears(began)

	r.signal(syscall.SIGTERM)
	r.eventually("the host drains", func() bool { return r.status().Host.Draining })
	require.NoError(t, os.WriteFile(until, nil, 0o600))
	require.Zero(t, r.exits())
	r.gone(pids)
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM pgmq.q_results`))
	require.Zero(t, count(t, db, `SELECT count(*) FROM pgmq.q_work_queue`))
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string][2]syscall.Signal{
		"interrupted twice":            {syscall.SIGINT, syscall.SIGINT},
		"terminated, then interrupted": {syscall.SIGTERM, syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, db := newQueues(t)
			began, told := filepath.Join(t.TempDir(), "began"), filepath.Join(t.TempDir(), "told")
			_, err := db.Exec(t.Context(), `SELECT pgmq.send('work_queue', jsonb_build_object('Began', $1::text, 'Until', 'never', 'Told', $2::text))`, began, told)
			require.NoError(t, err)
			r := runHost(t, dsn, "drain_timeout = \"10ms\"\nkill_timeout = \"10m\"")
			pids := r.pluginPIDs()
			r.appears(began)

			r.signal(signals[0])
			r.appears(told)
			r.signal(signals[1])
			require.Equal(t, 130, r.exits())
			r.gone(pids)
			require.Equal(t, 1, count(t, db, `SELECT count(*) FROM pgmq.q_work_queue`))
			require.Zero(t, count(t, db, `SELECT count(*) FROM pgmq.q_results`))
		})
	}
}

// edit replaces a text of the configuration file.
func (r *running) edit(from, to string) {
	r.t.Helper()
	src, err := os.ReadFile(r.file)
	require.NoError(r.t, err)
	require.Contains(r.t, string(src), from)
	require.NoError(r.t, os.WriteFile(r.file, bytes.Replace(src, []byte(from), []byte(to), 1), 0o600))
}

func TestHangupReloadsTheFile(t *testing.T) {
	t.Parallel()
	dsn, db := newQueues(t)
	r := runHost(t, dsn, "")
	pids := r.pluginPIDs()
	const messages = 1000
	_, err := db.Exec(t.Context(), `SELECT pgmq.send('work_queue', '{"Milliseconds": 5}') FROM generate_series(1, $1)`, messages)
	require.NoError(t, err)

	r.edit("concurrency  = 8", "concurrency  = 5")
	r.edit("instances = 2", "instances = 2\n  args = [\"-x\"]")
	r.signal(syscall.SIGHUP)
	r.eventually("the file is in force", func() bool { return r.status().Namespaces[0].Concurrency == 5 })
	r.gone(pids)
	pids = r.pluginPIDs()

	r.edit("concurrency  = 5", "concurrency  = five")
	r.signal(syscall.SIGHUP)
	r.eventually("the log says what is wrong", func() bool { return strings.Contains(r.log.String(), "concurrency  = five") })
	require.Equal(t, 5, r.status().Namespaces[0].Concurrency)
	require.Equal(t, pids, r.pluginPIDs())

	r.eventually("all is done", func() bool { return count(t, db, `SELECT count(*) FROM pgmq.q_work_queue`) == 0 })
	require.Equal(t, messages, count(t, db, `SELECT count(*) FROM pgmq.q_results WHERE (message->>'success')::bool`))
	require.Equal(t, messages, count(t, db, `SELECT count(*) FROM pgmq.a_work_queue WHERE read_ct = 1`), "nothing was interrupted")
	r.signal(syscall.SIGTERM)
	require.Zero(t, r.exits())
	r.gone(pids)
}

// TestLogThatNobodyReadsHoldsUpNothing lets the pipe of the log fill up.
func TestLogThatNobodyReadsHoldsUpNothing(t *testing.T) {
	t.Parallel()
	dsn, db := newQueues(t)
	r := runHost(t, dsn, "")
	pids := r.pluginPIDs()
	finished := func(messages int) {
		t.Helper()
		r.eventually("the steps are done", func() bool { return count(t, db, `SELECT count(*) FROM pgmq.q_results`) == messages })
	}

	r.reading.Lock()
	read := sync.OnceFunc(r.reading.Unlock)
	defer read()
	_, err := db.Exec(t.Context(), `SELECT pgmq.send('work_queue', '{"Noise": 100}') FROM generate_series(1, 2)`)
	require.NoError(t, err)
	finished(2)
	require.NoError(t, syscall.Kill(pids[0], syscall.SIGKILL))
	require.NoError(t, syscall.Kill(pids[1], syscall.SIGKILL))
	r.gone(pids)
	_, err = db.Exec(t.Context(), `SELECT pgmq.send('work_queue', '{}') FROM generate_series(1, 50)`)
	require.NoError(t, err)
	finished(52)
	r.edit("concurrency  = 8", "concurrency  = 5")
	r.signal(syscall.SIGHUP)
	r.eventually("the file is in force", func() bool { return r.status().Namespaces[0].Concurrency == 5 })
	read()

	r.eventually("the log says that it has gaps", func() bool {
		return strings.Contains(r.log.String(), "lines of the log were dropped")
	})
	r.signal(syscall.SIGTERM)
	require.Zero(t, r.exits())
	require.Contains(t, r.log.String(), "drained", "the end of the log is written")
}

// TestKilledHostLosesNothing kills one of two hosts under load.
func TestKilledHostLosesNothing(t *testing.T) {
	t.Parallel()
	const messages = 2000
	dsn, db := newQueues(t)
	victim, survivor := runHost(t, dsn, ""), runHost(t, dsn, "")
	pids := victim.pluginPIDs()
	_, err := db.Exec(t.Context(), `SELECT pgmq.send('work_queue', '{"Milliseconds": 5}') FROM generate_series(1, $1)`, messages)
	require.NoError(t, err)

	victim.eventually("both hosts work", func() bool {
		other, one := survivor.status().Namespaces[0], victim.status().Namespaces[0]
		return other.Succeeded > 50 && one.Succeeded > 50 && one.InFlight > 0
	})
	victim.signal(syscall.SIGKILL)
	require.Equal(t, -1, victim.exits())
	require.Less(t, count(t, db, `SELECT count(*) FROM pgmq.q_results`), messages, "the host was killed too late")
	victim.gone(pids)

	survivor.eventually("the other host finishes all", func() bool {
		return count(t, db, `SELECT count(*) FROM pgmq.q_work_queue`) == 0
	})
	require.Equal(t, messages, count(t, db, `SELECT count(*) FROM pgmq.q_results`))
	require.Equal(t, messages, count(t, db, `SELECT count(DISTINCT message->'message_id') FROM pgmq.q_results`))
	require.Equal(t, messages, count(t, db, `SELECT count(*) FROM pgmq.a_work_queue`))
	require.Zero(t, count(t, db, `SELECT count(*) FROM pgmq.q_work_dead`))

	pids = survivor.pluginPIDs()
	survivor.signal(syscall.SIGTERM)
	require.Zero(t, survivor.exits())
	survivor.gone(pids)
}
