package devpg_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stretchr/testify/require"
)

func start(t *testing.T, opts devpg.Options) *devpg.Cluster {
	t.Helper()
	cluster, err := devpg.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, cluster) })
	return cluster
}

func stop(t *testing.T, cluster *devpg.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, cluster.Stop(ctx))
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func show(t *testing.T, dsn, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&text))
	return text
}

func persistent(t *testing.T) devpg.Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pg")
	opts := devpg.Options{Dir: dir}
	t.Cleanup(func() {
		// As root the data is outside the test's directory.
		cluster, err := devpg.Start(context.Background(), opts)
		require.NoError(t, err)
		base := cluster.Dir()
		stop(t, cluster)
		require.NoError(t, os.RemoveAll(base))
	})
	return opts
}

func TestPersistentClusterFindsItsDataAgain(t *testing.T) {
	t.Parallel()
	opts := persistent(t)
	first := start(t, opts)
	exec(t, first.DSN("postgres"), "CREATE TABLE kept AS SELECT 'data' AS what")
	require.Equal(t, "on", show(t, first.DSN("postgres"), "SHOW fsync"))
	stop(t, first)
	require.Zero(t, first.Pid())

	second := start(t, opts)
	require.Equal(t, first.Dir(), second.Dir())
	require.Equal(t, "data", show(t, second.DSN("postgres"), "SELECT what FROM kept"))
}

func TestSecondStartOnTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	opts := persistent(t)
	first := start(t, opts)
	_, err := devpg.Start(t.Context(), opts)
	var inUse *devpg.InUseError
	require.ErrorAs(t, err, &inUse)
	require.Equal(t, strconv.Itoa(os.Getpid()), inUse.Holder)
	require.Equal(t, first.Dir(), inUse.Dir)
	require.Equal(t, "1", show(t, first.DSN("postgres"), "SELECT '1'"), "the first one is untouched")
}

func TestStalePidFileOfAnotherProgramIsRemoved(t *testing.T) {
	t.Parallel()
	opts := persistent(t)
	first := start(t, opts)
	stop(t, first)
	// The number now belongs to a program that is no server: this one.
	stale := strconv.Itoa(os.Getppid()) + "\n" + filepath.Join(first.Dir(), "data") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(first.Dir(), "data", "postmaster.pid"), []byte(stale), 0o644))

	second := start(t, opts)
	require.Equal(t, "1", show(t, second.DSN("postgres"), "SELECT '1'"))
}

func TestCrashAndRestartKeepAddressAndData(t *testing.T) {
	t.Parallel()
	cluster := start(t, devpg.Options{Ephemeral: true, Settings: map[string]string{"max_connections": "77"}})
	dsn, pid := cluster.DSN("postgres"), cluster.Pid()
	require.Equal(t, "77", show(t, dsn, "SHOW max_connections"))
	exec(t, dsn, "CREATE TABLE kept AS SELECT 'data' AS what")

	cluster.Crash()
	require.Zero(t, cluster.Pid())
	_, err := pgx.Connect(t.Context(), dsn)
	require.Error(t, err)

	require.NoError(t, cluster.Restart(t.Context()))
	require.NotEqual(t, pid, cluster.Pid())
	require.Equal(t, dsn, cluster.DSN("postgres"))
	require.Equal(t, "data", show(t, dsn, "SELECT what FROM kept"))
	require.Contains(t, cluster.LogTail(100), "automatic recovery in progress")

	pid = cluster.Pid()
	require.NoError(t, cluster.Restart(t.Context()), "also while it runs")
	require.NotEqual(t, pid, cluster.Pid())
}

func TestTCPNeedsThePassword(t *testing.T) {
	t.Parallel()
	cluster := start(t, devpg.Options{Ephemeral: true})
	require.Equal(t, "1", show(t, cluster.TCPDSN("postgres"), "SELECT '1'"))

	without, err := url.Parse(cluster.TCPDSN("postgres"))
	require.NoError(t, err)
	without.User = url.UserPassword("postgres", "guess")
	_, err = pgx.Connect(t.Context(), without.String())
	require.ErrorContains(t, err, "password authentication failed")
}

func TestStopRemovesEphemeralFiles(t *testing.T) {
	t.Parallel()
	cluster := start(t, devpg.Options{Ephemeral: true})
	socket, err := url.Parse(cluster.DSN("postgres"))
	require.NoError(t, err)
	require.DirExists(t, cluster.Dir())
	stop(t, cluster)
	require.NoDirExists(t, cluster.Dir())
	require.NoDirExists(t, socket.Query().Get("host"))
	require.NoError(t, cluster.Stop(t.Context()), "stopping again does nothing")
	require.ErrorContains(t, cluster.Restart(t.Context()), "stopped")
}

func TestServerHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	cluster := start(t, devpg.Options{Ephemeral: true})
	mine, err := syscall.Getpgid(0)
	require.NoError(t, err)
	theirs, err := syscall.Getpgid(cluster.Pid())
	require.NoError(t, err)
	require.NotEqual(t, mine, theirs)
	require.Equal(t, cluster.Pid(), theirs)
}

func TestStartReportsWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	_, err := devpg.Start(t.Context(), devpg.Options{Ephemeral: true, Settings: map[string]string{"no_such": "1"}})
	require.ErrorContains(t, err, `unrecognized configuration parameter "no_such"`)
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := devpg.Start(ctx, devpg.Options{Ephemeral: true})
	require.ErrorIs(t, err, context.Canceled)
}

func TestOptionsMustChoose(t *testing.T) {
	t.Parallel()
	for _, opts := range []devpg.Options{{}, {Dir: "x", Ephemeral: true}} {
		_, err := devpg.Start(t.Context(), opts)
		require.ErrorContains(t, err, "has a directory or is ephemeral")
	}
}

// waitGone waits until no process has the id, or only its remains are there.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		if syscall.Kill(pid, 0) != nil {
			return true
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err == nil && strings.Contains(string(stat), ") Z ")
	}, time.Minute, 10*time.Millisecond)
}
