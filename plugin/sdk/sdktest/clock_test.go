package sdktest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// In a bubble the whole exchange, gRPC included, runs on the bubble's clock:
// these are exact, and take no time.

func TestTimeoutOnTheFakeClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.Start(t, waiting())
		for _, timeout := range []time.Duration{20 * time.Second, 30 * 24 * time.Hour} {
			r := h.Run("s", message{}, sdktest.Timeout(timeout)).Require(sdktest.Retry)
			require.Equal(t, "timeout", r.Failure.Type)
			require.Equal(t, timeout, r.Duration)
		}
	})
}

func TestHeartbeatsOnTheFakeClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("s", func(ctx context.Context, _ struct{}) (time.Time, error) {
			for i := range 10 {
				time.Sleep(time.Minute)
				if err := sdk.Heartbeat(ctx, sdk.Progress{Fraction: float64(i+1) / 10}); err != nil {
					return time.Time{}, err
				}
			}
			return sdk.StepInfo(ctx).Deadline, nil
		})))
		began := time.Now()
		s := h.Go("s", message{}, sdktest.Timeout(time.Hour))
		for i := range 10 {
			require.InDelta(t, float64(i+1)/10, s.Heartbeat().Fraction, 1e-9)
			require.Equal(t, time.Duration(i+1)*time.Minute, time.Since(began))
		}
		var deadline time.Time
		s.Wait().Decode(&deadline)
		require.WithinDuration(t, began.Add(time.Hour), deadline, 0)
	})
}

func TestHandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(outer *testing.T) {
		release := make(chan struct{})
		says := failures(outer, func(t sdktest.TB) {
			h := sdktest.Start(t, sdk.New(sdk.Handle("s", func(context.Context, struct{}) (any, error) {
				<-release
				return nil, errors.New("at last")
			})))
			h.Run("s", message{})
		})
		require.Contains(outer, says, `step "s" still runs 5s after its context has ended`)
		require.Contains(outer, says, "stop the plugin")
		close(release)
		synctest.Wait()
	})
}

// What hangs fails its own test and no other, and soon.
func TestPluginsThatHang(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		setup func(release chan struct{}) (*sdk.Plugin, error)
		says  string
	}{
		"setup": {func(release chan struct{}) (*sdk.Plugin, error) {
			<-release
			return nil, errors.New("too late")
		}, "setup has not returned after 30s"},
		"OnClose": {func(release chan struct{}) (*sdk.Plugin, error) {
			return sdk.New(sdk.Handle("s", nothing), sdk.OnClose(func() error { <-release; return nil })), nil
		}, "an OnClose function hangs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(outer *testing.T) {
				release := make(chan struct{})
				says := failures(outer, func(t sdktest.TB) {
					sdktest.StartWith(t, func(context.Context, struct{}) (*sdk.Plugin, error) { return tc.setup(release) })
				})
				require.Contains(outer, says, tc.says)
				close(release)
				synctest.Wait()
			})
		})
	}
}

func nothing(context.Context, struct{}) (any, error) { return nil, nil }

// The handler sleeps for hours, the test does not.
func TestSlowHandlerInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("import", importing)))
		began := time.Now()
		h.Run("import", `{"Rows": 10}`, sdktest.Timeout(24*time.Hour)).Require(sdktest.Completed)
		require.Equal(t, 10*time.Hour, time.Since(began))
	})
}

// BenchmarkTest is what a test costs: start a plugin with a config block, run
// a step, stop.
func BenchmarkTest(b *testing.B) {
	for b.Loop() {
		func() {
			f := &failing{TB: b}
			defer func() {
				for _, cleanup := range f.cleanups {
					cleanup()
				}
			}()
			sdktest.StartWith(f, setup, sdktest.Config(`currency = "EUR"`)).Run("charge", Charge{OrderID: "1"}).Require(sdktest.Permanent)
		}()
	}
}
