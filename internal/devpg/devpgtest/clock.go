package devpgtest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stephost/stephost/internal/devpg"
)

//go:embed clock.c.txt
var clockSource []byte

// ShiftedCluster starts a cluster for this test alone whose clock is ahead of this
// machine's by the offset, or behind it. A library that the server loads first
// answers when it asks for the time; a C compiler is needed.
func ShiftedCluster(t testing.TB, offset time.Duration) *devpg.Cluster {
	t.Helper()
	// The server's user must be able to read it, which t.TempDir does not let it.
	dir, err := os.MkdirTemp("", "stephost-clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("compile the clock (a C compiler is needed): %v\n%s", err, out)
	}
	if err := os.Chmod(library, 0o755); err != nil {
		t.Fatal(err)
	}
	return start(t, devpg.Options{Ephemeral: true, Environment: []string{
		"LD_PRELOAD=" + library, fmt.Sprintf("STEPHOST_CLOCK_OFFSET=%d", int64(offset.Seconds())),
	}})
}

// Standby starts a hot standby of a cluster for this test alone.
func Standby(t testing.TB, primary *devpg.Cluster) *devpg.Cluster {
	t.Helper()
	return start(t, devpg.Options{Ephemeral: true, StandbyOf: primary})
}

func start(t testing.TB, opts devpg.Options) *devpg.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cluster, err := devpg.Start(ctx, opts)
	if err != nil {
		t.Fatalf("start a PostgreSQL cluster: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := cluster.Stop(ctx); err != nil {
			t.Errorf("stop the PostgreSQL cluster: %v", err)
		}
	})
	return cluster
}
