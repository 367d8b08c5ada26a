// Package sdktest runs a plugin in the process of its tests. It speaks the real
// protocol with it: the plugin describes itself, is configured from HCL by the
// host's own code, passes a health check, and gets its steps on a gRPC stream
// in memory. There is no database, no second process and nothing to set up; a
// test takes a few milliseconds.
//
// # A first test
//
// Let main do nothing but serve, so that a test has the rest:
//
//	func main() { sdk.MainWith(setup) }
//
// A test starts the plugin with what a user would write into its config block,
// and calls a step:
//
//	func TestCharge(t *testing.T) {
//		h := sdktest.StartWith(t, setup, sdktest.Config(block))
//		receipt, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17", Cents: 19_99})
//		require.NoError(t, err)
//		require.Equal(t, "r-1", receipt.ID)
//	}
//
// where block is
//
//	const block = `
//	endpoint = "https://gateway.example"
//	patience = "1m"`
//
// A plugin without configuration is started with [Start] and [sdk.New]:
//
//	h := sdktest.Start(t, sdk.New(sdk.Handle("charge", charge)))
//
// The plugin is stopped when the test ends: what still runs is cancelled and
// waited for, and the [sdk.OnClose] functions run. What handlers write with
// [sdk.Logger] and [sdk.Slog] goes to the test's log; other loggers are left as
// they are. Any number of tests may run in parallel, each with a plugin of its
// own.
//
// # Outcomes
//
// [Call] is for handlers that should succeed, or fail with an error: the error
// carries the verdict, so errors.As finds a [sdk.SnoozeError] in it. [Host.Run]
// returns all there is to know:
//
//	r := h.Run("charge", Charge{OrderID: "18", Cents: 2}).Require(sdktest.RetryAfter)
//	require.Equal(t, time.Minute, r.Delay)
//	require.Equal(t, "the gateway is busy", r.Failure.Message)
//
// [Verdict] has the possible outcomes. [Result.Require] fails the test unless
// it is the wanted one, and then shows the whole outcome: result, emitted
// messages, error, the stack of a panic.
//
// # Emitted messages
//
// [Emitted] decodes what a step sends to one target; [Result.Emitted] has all
// messages with headers and delays:
//
//	sent := sdktest.Emitted[Ship](r, sdk.ToNamespace("shipping"))
//	require.Equal(t, []Ship{{Step: "ship", OrderID: "17"}}, sent)
//
// Whether there is such a namespace or queue only a host knows.
//
// To follow a workflow, run what was emitted. With an empty step name a message
// is routed as a host does, by its member "step" and else to the default
// handler.
//
// # What the handler is told
//
// A step is delivered as the first attempt of a message that was enqueued just
// now into namespace "test", with a timeout of 20 seconds. [Attempt], [Info] and
// [Timeout] say otherwise.
//
// # Running steps
//
// [Host.Go] starts a step and returns at once. [Step.Heartbeat] waits for the
// next progress that the handler reports, [Step.Cancel] ends its context for one
// of the host's reasons, and [Step.Wait] waits for the outcome:
//
//	s := h.Go("import", Import{Rows: 10})
//	require.Equal(t, "importing", s.Heartbeat().Message)
//	s.Cancel(sdk.ErrLeaseLost)
//	r := s.Wait().Require(sdktest.GivenBack)
//	require.Equal(t, sdk.ErrLeaseLost.Error(), r.Failure.Message)
//
// [Host.Drain] does what a host does first when it stops, [Host.Stop] all of
// it; Stop returns the errors of the OnClose functions.
//
// # Time
//
// Nothing in the exchange waits for the operating system, so a test may run in
// a bubble of package testing/synctest, where the clock jumps whenever all
// goroutines wait. Timeouts, sleeps, tickers and deadlines are exact there and
// take no time:
//
//	synctest.Test(t, func(t *testing.T) {
//		h := sdktest.StartWith(t, setup, sdktest.Config(block))
//		r := h.Run("import", Import{Rows: 1000}, sdktest.Timeout(20*time.Second)).Require(sdktest.Retry)
//		require.Equal(t, "timeout", r.Failure.Type)
//		require.Equal(t, 20*time.Second, r.Duration)
//	})
//
// Start the plugin inside the bubble. What the handler itself talks to must be
// in memory as well; a real socket keeps the clock from moving.
//
// A handler that goes on for five seconds after its context has ended fails the
// test, since a host would give up on it too.
//
// # Configuration
//
// [Config] takes what stands in the config block, [Env] what the function env
// sees there. [ConfigError] returns what a host prints about a block that is
// wrong: file, line, column and source line, also for what setup complains
// about with [sdk.FieldError].
//
//	printed := sdktest.ConfigError(t, setup, sdktest.Config(`endpoint = "nowhere"`))
//	require.Contains(t, printed, "config.hcl:2,12")
//	require.Contains(t, printed, "must be a URL")
package sdktest
