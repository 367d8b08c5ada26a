package conformance_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/stephost/stephost/host/supervisor/shim"
)

// TestMain lets the test binary play the shim and the plugins.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	if mode, ok := os.LookupEnv(modeVariable); ok {
		runTestPlugin(mode)
		return
	}
	goleak.VerifyTestMain(m)
}
