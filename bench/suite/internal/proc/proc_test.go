package proc

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimeOfAChildIsItsParents(t *testing.T) {
	t.Parallel()
	// A shell with a child that uses 50 ms at least and ends, and one that waits.
	shell := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo done; exec cat`)
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	_, err = out.Read(make([]byte, 10))
	require.NoError(t, err)

	used, err := CPU(shell.Process.Pid)
	require.NoError(t, err)
	require.Positive(t, used)
	tree, err := Tree(os.Getpid())
	require.NoError(t, err)
	require.Contains(t, tree, shell.Process.Pid)

	require.NoError(t, in.Close())
	require.NoError(t, shell.Wait())
}
