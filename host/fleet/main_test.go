package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/plugin/sdk"
)

// versionVariable makes the test binary a plugin of that version.
const versionVariable = "FLEET_TEST_VERSION"

// TestMain lets the test binary play the shim and the plugins too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	if version, ok := os.LookupEnv(versionVariable); ok {
		runPlugin(version)
		return
	}
	goleak.VerifyTestMain(m)
}

// runPlugin is a plugin that answers with its version. Version "bad" does not
// come up, and "slow" not before the file $READY is there.
func runPlugin(version string) {
	if version == "bad" {
		fmt.Fprintln(os.Stderr, "cannot find my licence")
		os.Exit(3)
	}
	if once := os.Getenv("ONCE"); once != "" {
		if err := os.Mkdir(once, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, "it has been started before")
			os.Exit(5)
		}
	}
	if version == "slow" {
		for !exists(os.Getenv("READY")) {
			time.Sleep(time.Millisecond)
		}
	}
	if lock := os.Getenv("LOCK"); lock != "" {
		file, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "somebody else has the resource:", err)
			os.Exit(4)
		}
		defer runtime.KeepAlive(file)
	}
	sdk.Main(sdk.Version(version), sdk.Handle("echo", func(context.Context, struct{}) (string, error) { return version, nil }, sdk.Default()),
		// hold waits for a file.
		sdk.Handle("hold", func(ctx context.Context, file string) (string, error) {
			if err := os.WriteFile(file+".runs", nil, 0o600); err != nil {
				return "", err
			}
			for !exists(file) {
				select {
				case <-ctx.Done():
					return "", errors.New("told to stop")
				case <-time.After(time.Millisecond):
				}
			}
			return version, nil
		}))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
