package gcpace

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const allowance = 24 << 20
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 600}, {4 << 20, 600}, {8 << 20, 300}, {10 << 20, 240}, {12 << 20, 200},
		{24 << 20, 100}, {1 << 30, 100},
	} {
		require.Equal(t, c.want, pace(c.live, allowance), "%d bytes live", c.live)
	}
}

// The pace is the process's, so a process of its own has it.
func TestAllow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, env string
	}{{"follows the heap", ""}, {"leaves GOGC alone", "GOGC=70"}, {"leaves the program's own pace alone", "GCPACE_OWN=before"}, {"leaves off for the program's own pace", "GCPACE_OWN=after"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := exec.Command(os.Args[0], "-test.run=^TestProgram$")
			program.Env = append(os.Environ(), "GCPACE_PROGRAM=1")
			if c.env != "" {
				program.Env = append(program.Env, c.env)
			}
			out, err := program.CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

func TestProgram(t *testing.T) {
	if os.Getenv("GCPACE_PROGRAM") == "" {
		t.Skip("TestAllow runs it in a process of its own")
	}
	own := os.Getenv("GCPACE_OWN")
	if own == "before" {
		debug.SetGCPercent(70)
	}
	Allow(24 << 20)
	if os.Getenv("GOGC") != "" || own == "before" {
		require.Equal(t, uint64(70), inForce())
		return
	}
	require.Greater(t, inForce(), uint64(500), "a small heap")
	large := make([]byte, 100<<20)
	if own == "after" {
		debug.SetGCPercent(70)
		for range 100 {
			runtime.GC()
			require.Equal(t, uint64(70), inForce())
		}
		runtime.KeepAlive(large)
		return
	}
	eventuallyPaced(t, func(percent uint64) bool { return percent == usual }, "a large heap")
	runtime.KeepAlive(large)
	large = nil
	eventuallyPaced(t, func(percent uint64) bool { return percent > 500 }, "a small heap again")
}

func eventuallyPaced(t *testing.T, paced func(uint64) bool, what string) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		return paced(inForce())
	}, 30*time.Second, time.Millisecond, what)
}
