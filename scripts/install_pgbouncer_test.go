package scripts_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// pooler runs the script for PgBouncer, which never fails.
func (m *machine) pooler() string {
	m.t.Helper()
	stderr, code := m.script("install-pgbouncer.sh", []string{"/usr/sbin/"})
	require.Zero(m.t, code, stderr)
	return stderr
}

// aptPooler installs a pooler, and notes what would have kept its service from
// starting.
const aptPooler = `
echo "apt-get $*" >> $MACHINE/calls
[ "$1" = install ] || exit 0
$MACHINE/usr/sbin/policy-rc.d; echo "policy $?" >> $MACHINE/calls
echo > $MACHINE/usr/sbin/pgbouncer; chmod 755 $MACHINE/usr/sbin/pgbouncer`

func TestPgBouncerIsInstalledOnceAndNotStarted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.path("usr", "sbin", "pgbouncer")
	m.program("apt-get", aptPooler)
	require.Contains(t, m.pooler(), "installing the package pgbouncer with apt-get")
	calls := m.read("calls")
	require.Equal(t, "apt-get update -q\napt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 pgbouncer\npolicy 101\n", calls)
	require.NoFileExists(t, m.path("usr", "sbin", "policy-rc.d"))

	require.Empty(t, m.pooler())
	require.Equal(t, calls, m.read("calls"))
}

func TestAPolicyOfSomebodyElseStays(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("apt-get", aptPooler)
	require.NoError(t, os.WriteFile(m.path("usr", "sbin", "policy-rc.d"), []byte("#!/bin/sh\nexit 0\n"), 0o755))
	m.pooler()
	require.Contains(t, m.read("calls"), "policy 0\n")
	require.FileExists(t, m.path("usr", "sbin", "policy-rc.d"))
}

func TestAPgBouncerThatCannotBeInstalledIsOneClearLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*machine)
		says    string
	}{
		"no package manager": {func(*machine) {}, "install it with your package manager; until then whatever runs behind PgBouncer is skipped"},
		"not root and no sudo": {func(m *machine) {
			m.program("apt-get", "exit 1")
			m.program("id", "echo 1000")
		}, "run `apt-get install pgbouncer` as root"},
		"no such package": {func(m *machine) { m.program("apt-get", "exit 100") }, "could not be installed: whatever runs behind PgBouncer is skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.path("usr", "sbin", "pgbouncer")
			c.prepare(m)
			require.Contains(t, m.pooler(), c.says)
			require.NoFileExists(t, m.path("usr", "sbin", "policy-rc.d"))
		})
	}
}
