package scripts_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runtimes runs install-runtimes.sh in a tree of the machine's own. findPython
// is what the finder does there.
func (m *machine) runtimes(findPython string) string {
	m.t.Helper()
	script, err := os.ReadFile("install-runtimes.sh")
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(m.path("tree", "scripts", "install-runtimes.sh"), script, 0o755))
	for _, dir := range []string{"plugin/node", "plugins/examples/node-greeter"} {
		require.NoError(m.t, os.WriteFile(m.path("tree", dir, "package-lock.json"), nil, 0o644))
	}
	require.NoError(m.t, os.WriteFile(m.path("tree", "plugin/python/find-python"), []byte("#!/bin/sh\n"+findPython+"\n"), 0o755))
	return m.again()
}

// again runs it in the tree as it is.
func (m *machine) again() string {
	m.t.Helper()
	bash, err := exec.LookPath("bash")
	require.NoError(m.t, err)
	cmd := exec.Command(bash, m.path("tree", "scripts", "install-runtimes.sh"))
	cmd.Env = []string{"PATH=" + m.path("bin"), "MACHINE=" + m.root}
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, err, "it must never fail: %s", out)
	return string(out)
}

const (
	npm      = `echo "${PWD##*/}: npm $*" >> $MACHINE/calls; mkdir -p node_modules; echo > node_modules/.package-lock.json`
	noPython = `echo "no python3 has gRPC" >&2; exit 1`
)

func TestRuntimesThatAreNotThereAreLeftAlone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("apt-get", apt)
	said := m.runtimes(noPython)
	require.Contains(t, said, "Node.js or npm is missing: the tests of the SDK for it are skipped")
	require.Contains(t, said, "Python is missing: the tests of the SDK for it are skipped")
	require.NoFileExists(t, m.path("calls"))
}

func TestNodePackagesAreInstalledOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("node", "")
	m.program("npm", npm)
	require.Contains(t, m.runtimes(""), "installing the packages of plugin/node")
	calls := m.read("calls")
	require.Regexp(t, `(?s)^node: npm ci --ignore-scripts [^\n]*\nnode-greeter: npm ci --ignore-scripts [^\n]*\n$`, calls)

	// The lock file is older than what was installed by it.
	for _, dir := range []string{"plugin/node", "plugins/examples/node-greeter"} {
		long := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(m.path("tree", dir, "package-lock.json"), long, long))
	}
	require.NotContains(t, m.again(), "installing")
	require.Equal(t, calls, m.read("calls"))
}

func TestNodePackagesThatCannotBeHadAreNamed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("node", "")
	m.program("npm", "exit 1")
	require.Contains(t, m.runtimes(""), "the packages of plugin/node could not be installed: its tests are skipped")
}

func TestPythonPackagesAreInstalledByRootOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user, finder, says string
		installs           bool
	}{
		"root":              {"0", noPython, "installing gRPC for Python with apt-get", true},
		"somebody":          {"1000", noPython, "the tests of the Python SDK are skipped: no python3 has gRPC", false},
		"already installed": {"0", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.program("python3", "")
			m.program("id", "echo "+c.user)
			m.program("apt-get", `echo "$*" >> $MACHINE/calls`)
			said := m.runtimes(c.finder)
			require.Contains(t, said, c.says)
			require.NotContains(t, said, "Python is missing")
			if !c.installs {
				require.NoFileExists(t, m.path("calls"))
				return
			}
			require.Contains(t, m.read("calls"), "python3-grpcio python3-protobuf python3-cryptography")
			require.Equal(t, 2, strings.Count(m.read("calls"), "\n"))
		})
	}
}
