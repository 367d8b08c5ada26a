package supervisor_test

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/stephost/stephost/host/supervisor/shim"
)

// TestMain lets the test binary play every part: the shim, a plugin, a host.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	if len(os.Args) > 4 && os.Args[1] == meddlerCommand {
		meddle(os.Args[2], os.Args[3], os.Args[4])
		os.Exit(shim.Main(os.Args[6:]))
	}
	if mode, ok := os.LookupEnv(modeVariable); ok {
		runTestPlugin(mode)
		return
	}
	if command := os.Getenv(hostVariable); command != "" {
		runTestHost(command)
		return
	}
	goleak.VerifyTestMain(m)
}

func testBinary(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
