package devpg_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stretchr/testify/require"
)

// ownerVariable makes a copy of the test binary the owner of a cluster that
// the test kills.
const ownerVariable = "DEVPG_TEST_OWNER"

// TestOwner is not a test: it is what the killed process runs.
func TestOwner(t *testing.T) {
	dir, ok := os.LookupEnv(ownerVariable)
	if !ok {
		t.Skip("runs only as the child of the tests below")
	}
	cluster, err := devpg.Start(context.Background(), devpg.Options{Dir: dir, Ephemeral: dir == ""})
	require.NoError(t, err)
	fmt.Printf("\nowner %d %s\n", cluster.Pid(), cluster.Dir())
	time.Sleep(time.Minute)
}

// owner starts a process that owns a cluster and returns it with the server's
// process id and directory.
func owner(t *testing.T, dir string, args ...string) (cmd *osexec.Cmd, pid int, base string) {
	t.Helper()
	cmd = osexec.Command(os.Args[0], append([]string{"-test.run=^TestOwner$"}, args...)...)
	cmd.Env = append(os.Environ(), ownerVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "owner" {
			pid, err = strconv.Atoi(fields[1])
			require.NoError(t, err)
			return cmd, pid, fields[2]
		}
	}
	t.Fatal("the owner started no cluster")
	return nil, 0, ""
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	t.Parallel()
	cmd, pid, base := owner(t, "")
	require.NoError(t, cmd.Process.Kill())
	waitGone(t, pid)
	require.Eventually(t, func() bool {
		_, err := os.Stat(base)
		return os.IsNotExist(err)
	}, time.Minute, 10*time.Millisecond)
}

func TestOwnerWhoseTestsTimeOutLeavesNothing(t *testing.T) {
	t.Parallel()
	_, pid, _ := owner(t, "", "-test.timeout=5s")
	waitGone(t, pid)
}

func TestStartAfterAKilledOwnerTakesOver(t *testing.T) {
	t.Parallel()
	opts := persistent(t)
	cmd, pid, base := owner(t, opts.Dir)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	// The old server may still be on its way out.
	cluster := start(t, opts)
	require.Equal(t, base, cluster.Dir())
	require.NotEqual(t, pid, cluster.Pid())
	require.Equal(t, "1", show(t, cluster.DSN("postgres"), "SELECT '1'"))
}
