package exampletest

import (
	"os"
	"os/exec"
	"testing"
)

// NeedNode skips the test where Node.js or the SDK's dependencies are missing.
// sdk and example are the directories that scripts/install-runtimes.sh fills.
func NeedNode(t testing.TB, sdk, example string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node.js is missing: install node 18 or newer and npm, and run scripts/install-runtimes.sh")
	}
	for _, dir := range []string{sdk, example} {
		if _, err := os.Stat(dir + "/node_modules/.package-lock.json"); err != nil {
			t.Skipf("the packages of %s are not installed: run scripts/install-runtimes.sh", dir)
		}
	}
}

// NeedPython skips the test where no Python has gRPC. finder is the script that
// looks for one.
func NeedPython(t testing.TB, finder string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), finder).CombinedOutput(); err != nil {
		t.Skipf("%s", out)
	}
}
