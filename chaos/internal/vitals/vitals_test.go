package vitals_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/plateau"
	"github.com/stephost/stephost/chaos/internal/vitals"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { devpgtest.Main(m) }

// numbers are the latest of each series, by subject and measure.
type numbers map[string]float64

func read(t *testing.T, source vitals.Source) numbers {
	t.Helper()
	found := numbers{}
	require.NoError(t, source.Read(t.Context(), func(s vitals.Subject, m vitals.Measure, v float64) {
		found[fmt.Sprintf("%s/%s", s.Name, m)] = v
	}))
	return found
}

// eventually reads until the numbers are as wanted.
func eventually(t *testing.T, source vitals.Source, want func(numbers) bool) {
	t.Helper()
	var last numbers
	require.Eventually(t, func() bool {
		last = read(t, source)
		return want(last)
	}, patience, 10*time.Millisecond, "%v", last)
}

// family starts a shell with TMPDIR that has a shim, which has a plugin, and
// something that has ended and is waited for by nobody.
func family(t *testing.T, tempDir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `/bin/sh -c 'sleep 1000 & wait' `+shim.Command+` & sleep 0 & exec sleep 1000`)
	cmd.Env = append(os.Environ(), "TMPDIR="+tempDir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

func TestHostsFindTheProcessesOfTheWorld(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	endpoint := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(endpoint.Close)
	dir := t.TempDir()
	shell := family(t, dir)
	hosts := vitals.Hosts{TempDir: dir, List: func() []vitals.Host {
		return []vitals.Host{{Name: "a", PID: shell.Process.Pid, Admin: strings.TrimPrefix(endpoint.URL, "http://")}}
	}}

	eventually(t, hosts, func(n numbers) bool {
		return n["world/processes"] == 4 && n["a: plugins/descriptors"] > 0 && n["a: shims/descriptors"] > 0
	})
	n := read(t, hosts)
	for _, subject := range []string{"a", "a: shims", "a: plugins"} {
		require.Positive(t, n[subject+"/resident bytes"], subject)
		require.Positive(t, n[subject+"/threads"], subject)
		require.Positive(t, n[subject+"/descriptors"], subject)
	}
	require.Greater(t, n["a/goroutines"], 1.0)
	require.Greater(t, n["a/heap in use bytes"], 1e5)

	// Whose parent is dead is still one of the world.
	require.NoError(t, shell.Process.Kill())
	eventually(t, hosts, func(n numbers) bool { return n["world/processes"] == 2 })
	require.NotContains(t, read(t, hosts), "a/resident bytes")
}

func TestDescriptorsAreCounted(t *testing.T) {
	t.Parallel()
	// What the test itself has inherited is in both, or covered in both.
	require.Equal(t, 7, descriptorsOf(t, 27)-descriptorsOf(t, 20))
}

// descriptorsOf starts a host with so many more descriptors and returns how many
// are counted, although its endpoint does not answer.
func descriptorsOf(t *testing.T, more int) int {
	t.Helper()
	dir := t.TempDir()
	// A program that starts has its libraries open for a moment; this one tells when
	// that is over.
	cmd := exec.Command("sh", "-c", "echo started; read -r forever")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	started, err := cmd.StdoutPipe()
	require.NoError(t, err)
	for range more {
		file, err := os.Open(os.DevNull)
		require.NoError(t, err)
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_, err = started.Read(make([]byte, 1))
	require.NoError(t, err)
	hosts := vitals.Hosts{TempDir: dir, List: func() []vitals.Host {
		return []vitals.Host{{Name: "a", PID: cmd.Process.Pid, Admin: "127.0.0.1:1"}}
	}}
	found := 0
	err = hosts.Read(t.Context(), func(s vitals.Subject, m vitals.Measure, v float64) {
		if s.Name == "a" && m == vitals.Descriptors {
			found = int(v)
		}
	})
	require.Error(t, err)
	require.NotZero(t, found)
	return found
}

func TestDirectoryCountsAtAnyDepth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := vitals.Directory{Path: dir}
	require.Equal(t, numbers{"temporary files/entries": 0}, read(t, source))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "c"), nil, 0o600))
	require.Equal(t, numbers{"temporary files/entries": 3}, read(t, source))
	require.Error(t, vitals.Directory{Path: filepath.Join(dir, "none")}.Read(t.Context(), nil))
}

func TestDatabaseTellsOfTablesAndBackends(t *testing.T) {
	t.Parallel()
	dsn := devpgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	_, err = schema.Install(t.Context(), conn)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `SELECT pgmq.create('jobs')`)
	require.NoError(t, err)
	for _, sql := range []string{
		`SELECT pgmq.send('jobs', '{}') FROM generate_series(1, 100)`,
		`DELETE FROM pgmq.q_jobs WHERE msg_id <= 40`,
		// PostgreSQL 15 on, a backend tells its numbers at once only when asked to.
		`SELECT pg_stat_force_next_flush()`,
		`BEGIN ISOLATION LEVEL REPEATABLE READ`,
		`SELECT 1`,
	} {
		_, err = conn.Exec(t.Context(), sql)
		if sql == `SELECT pg_stat_force_next_flush()` && err != nil {
			continue // an older server
		}
		require.NoError(t, err, sql)
	}
	other, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	require.NoError(t, err)
	require.NoError(t, other.Close(t.Context()))
	source := vitals.Database{DSN: dsn}
	eventually(t, source, func(n numbers) bool { return n["table q_jobs/rows"] == 60 && n["table q_jobs/dead tuples"] == 40 })
	// The backend of a connection that was closed takes a moment to end. The one
	// that asks does not count.
	eventually(t, source, func(n numbers) bool { return n["database/backends"] == 1 })
	n := read(t, source)
	require.Positive(t, n["table q_jobs/size bytes"])
	require.Contains(t, n, "table a_jobs/size bytes")
	require.Positive(t, n["database/xmin age"])
}

// failing notes one number and then fails.
type failing struct{}

func (failing) Read(_ context.Context, note vitals.Note) error {
	note(vitals.Subject{Name: "half"}, vitals.Entries, 1)
	return errors.New("a fault is about")
}

func TestRecorderKeepsWhatThereIs(t *testing.T) {
	t.Parallel()
	recorder := vitals.NewRecorder(failing{}, vitals.Directory{Path: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		recorder.Run(ctx, time.Millisecond)
	}()
	require.Eventually(t, func() bool {
		all := recorder.Series()
		return len(all) == 2 && len(all[1].Points) >= 3
	}, patience, time.Millisecond)
	cancel()
	<-done
	require.EqualError(t, recorder.Unread(), "a fault is about", "of the source that fails always")
	all := recorder.Series()
	require.Equal(t, "half", all[0].Subject.Name)
	require.Equal(t, "temporary files", all[1].Subject.Name)

	var text bytes.Buffer
	require.NoError(t, recorder.WriteCSV(&text))
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	require.Equal(t, "seconds,subject,measure,value", lines[0])
	require.Equal(t, "0.0,half,entries,1", lines[1])
	require.Len(t, lines, 1+len(all[0].Points)+len(all[1].Points))
}

func TestRecorderTellsWhatItHasNotRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	recorder := vitals.NewRecorder(vitals.Directory{Path: dir})
	require.Error(t, recorder.Unread(), "not yet")
	recorder.Measure(t.Context())
	require.ErrorIs(t, recorder.Unread(), os.ErrNotExist)
	require.NoError(t, os.Mkdir(dir, 0o700))
	recorder.Measure(t.Context())
	require.NoError(t, recorder.Unread())
	require.NoError(t, os.Remove(dir))
	recorder.Measure(t.Context())
	require.NoError(t, recorder.Unread(), "a gap")
}

func TestLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left, err := vitals.LeftBehind(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	require.NoError(t, cmd.Start())
	socket := filepath.Join(dir, "socket")
	require.NoError(t, os.WriteFile(socket, nil, 0o600))
	// Until it executes, the child is the test itself.
	require.Eventually(t, func() bool {
		left, err = vitals.LeftBehind(dir)
		return err == nil && len(left) == 2 && strings.Contains(left[0], "(sleep 1000)")
	}, patience, time.Millisecond)
	require.Equal(t, socket, left[1])

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	left, err = vitals.LeftBehind(dir)
	require.NoError(t, err)
	require.Equal(t, []string{socket}, left)
}

func TestSeriesOfPassingProcessesAreNotJudged(t *testing.T) {
	t.Parallel()
	leak := vitals.Series{Subject: vitals.Subject{Name: "a"}, Measure: vitals.Goroutines}
	for i := range 1000 {
		leak.Points = append(leak.Points, plateau.Point{At: time.Duration(i) * time.Second, Value: float64(i)})
	}
	got, judged := leak.Judge(1000 * time.Second)
	require.True(t, judged)
	require.Equal(t, plateau.Grows, got.Verdict)
	leak.Subject.Passing = true
	_, judged = leak.Judge(1000 * time.Second)
	require.False(t, judged)
}
