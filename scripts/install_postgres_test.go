// Package scripts_test tests the scripts beside it.
package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine is a computer on which the script finds nothing but what a test puts
// there.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir()}
	m.program("id", "echo 0")
	for _, name := range []string{"dirname", "env", "mkdir", "rm", "rmdir", "tee", "chmod", "cat"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, m.path("bin", name)))
	}
	return m
}

func (m *machine) path(parts ...string) string {
	m.t.Helper()
	path := filepath.Join(append([]string{m.root}, parts...)...)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

// program adds a shell script to the machine.
func (m *machine) program(name, body string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(m.path("bin", name), []byte("#!/bin/sh\n"+body+"\n"), 0o755))
}

// install runs the script for PostgreSQL.
func (m *machine) install(env ...string) (stderr string, code int) {
	m.t.Helper()
	places := []string{"/usr/lib/", "/usr/pgsql-", "/opt/homebrew/", "/usr/local/", "/home/linuxbrew/", "/etc/postgresql-common/"}
	return m.script("install-postgres.sh", places, env...)
}

// script runs one with its absolute paths led into the machine.
func (m *machine) script(name string, places []string, env ...string) (stderr string, code int) {
	m.t.Helper()
	script, err := os.ReadFile(name)
	require.NoError(m.t, err)
	text := string(script)
	for _, place := range places {
		require.Contains(m.t, text, place)
		text = strings.ReplaceAll(text, place, m.root+place)
	}
	bash, err := exec.LookPath("bash")
	require.NoError(m.t, err)
	cmd := exec.Command(bash, "-s")
	cmd.Stdin = strings.NewReader(text)
	cmd.Env = append([]string{"PATH=" + m.path("bin"), "MACHINE=" + m.root}, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		require.IsType(m.t, &exec.ExitError{}, err)
	}
	return errs.String(), cmd.ProcessState.ExitCode()
}

// apt installs a server, and notes how it was called and what the setting for
// clusters was.
const apt = `
echo "$DEBIAN_FRONTEND apt-get $*" >> $MACHINE/calls
[ "$1" = install ] || exit 100
cat $MACHINE/etc/postgresql-common/createcluster.d/*.conf >> $MACHINE/setting
bin=$MACHINE/usr/lib/postgresql/15/bin
mkdir -p $bin && echo > $bin/postgres && echo > $bin/initdb && chmod 755 $bin/*`

func TestPostgresThatIsThereIsUsed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("postgres", "")
	m.program("initdb", "")
	stderr, code := m.install()
	require.Zero(t, code)
	require.Empty(t, stderr)
}

func TestAptInstallsWithoutACluster(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("apt-get", apt)
	stderr, code := m.install()
	require.Zero(t, code, stderr)
	require.Equal(t, " apt-get update -q\nnoninteractive apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 postgresql\n", m.read("calls"))
	require.Equal(t, "create_main_cluster = off\n", m.read("setting"))
	require.NoDirExists(t, m.path("etc", "postgresql-common", "createcluster.d"))

	stderr, code = m.install()
	require.Zero(t, code)
	require.Empty(t, stderr)
}

func TestAptIsRunBySudo(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("apt-get", `[ -n "$AS_ROOT" ] || exit 13`+apt)
	m.program("id", "echo 1000")
	m.program("sudo", `AS_ROOT=1 exec "$@"`)
	stderr, code := m.install()
	require.Zero(t, code, stderr)
	require.FileExists(t, m.path("usr", "lib", "postgresql", "15", "bin", "postgres"))
}

func TestWhatCannotBeInstalledIsOneClearLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*machine)
		env     []string
		says    string
	}{
		"no package manager": {func(*machine) {}, nil, "install its server (version 14 or newer, with initdb) with your package manager, or set DATABASE_URL"},
		"not root and no sudo": {func(m *machine) {
			m.program("apt-get", apt)
			m.program("id", "echo 1000")
		}, nil, "needs root: run `apt-get install postgresql` as root, or set DATABASE_URL"},
		"wrong STEPHOST_PG_BIN": {func(m *machine) { m.program("apt-get", apt) }, []string{"STEPHOST_PG_BIN=/nowhere"}, "correct or unset it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			c.prepare(m)
			stderr, code := m.install(c.env...)
			require.Equal(t, 1, code)
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], c.says)
			require.NoFileExists(t, m.path("calls"))
		})
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.path(name))
	require.NoError(m.t, err)
	return string(text)
}
