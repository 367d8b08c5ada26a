// Package sdk is what a plugin for stephost is written with. A plugin is a
// program with a function for each kind of step; the host runs the program,
// takes messages from the queues of its namespaces, and calls the function.
//
// This page is a tutorial, from the first plugin to production. All code in it
// is part of programs that are compiled and tested with the SDK.
//
// # A plugin in ten lines
//
//	type Charge struct{ OrderID string }
//	type Receipt struct{ ID string }
//
//	func charge(ctx context.Context, in Charge) (Receipt, error) {
//		sdk.Logger(ctx).Info("charging", "order", in.OrderID)
//		return Receipt{ID: "r-" + in.OrderID}, nil
//	}
//
//	func main() { sdk.Main(sdk.Handle("charge", charge)) }
//
// Build it, name the binary in the host's config.hcl, and give it a namespace:
//
//	plugin "payments" {
//	  command = "bin/plugins/payments"
//	}
//	namespace "payments" {
//	  plugin = "payments"
//	}
//
// Run a host on a private database, and send it a message:
//
//	stephost dev --config config.hcl
//	stephost queue send payments_queue '{"step": "charge", "OrderID": "17"}'
//
// A project with all of that, tests and a Makefile too, is one command away:
//
//	stephost plugin new payments
//
// # A test
//
// Package [sdktest] runs the plugin in the process of its tests, over the real
// protocol, without a host or a database:
//
//	func TestCharge(t *testing.T) {
//		h := sdktest.Start(t, sdk.New(sdk.Handle("charge", charge)))
//		receipt, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17"})
//		require.NoError(t, err)
//		require.Equal(t, "r-17", receipt.ID)
//	}
//
// A handler is a plain function, too. Outside of a step, [StepInfo] is empty,
// [Logger] works, and [Emit] and [Heartbeat] return an error.
//
// # Input and output
//
// The whole message body is the input, and what the function returns is the
// step's result; both are JSON as encoding/json reads and writes it. [Handle]
// does that for any two types. A message that does not fit the input type
// fails for good, and the error names the field. [HandleRaw] leaves the JSON
// to you.
//
// A message names its step in a field, "step" unless the namespace says
// otherwise. One that names none goes to the handler marked with [Default], or
// to the only handler there is.
//
// # Verdicts
//
// A nil error completes the step. Any other follows the namespace's retry
// policy: so many attempts, with a back-off between them, and then the dead
// letters. Three errors say it differently, also when fmt.Errorf has wrapped
// them with %w:
//
//	switch {
//	case errors.Is(err, ErrBlocked):
//		return Receipt{}, sdk.Permanent(err) // to the dead letters, now
//	case errors.Is(err, ErrBusy):
//		return Receipt{}, sdk.RetryAfter(err, p.patience) // a failed attempt; the next one then
//	case errors.Is(err, ErrClosed):
//		return Receipt{}, sdk.Snooze(time.Hour) // no failure, no attempt spent
//	case err != nil:
//		return Receipt{}, err // the namespace's policy decides
//	}
//
// [Permanent] is for what no attempt can change, [RetryAfter] for a failure
// that knows when the next attempt makes sense, and [Snooze] for a step that
// cannot run yet.
//
// # Emitting the next step
//
// [Emit] sends a message in the transaction that completes the step:
//
//	ship := Ship{Step: "ship", OrderID: in.OrderID}
//	if err := sdk.Emit(ctx, sdk.ToNamespace("shipping"), ship); err != nil {
//		return Receipt{}, err
//	}
//
// It is sent exactly once if the step succeeds, and not at all if it fails,
// snoozes or is given back. [ToNamespace] finds the namespace's queue and
// fails the step if the host has no such namespace; [ToQueue] names any queue.
// [Delay] and [Headers] adjust the message.
//
// # When a handler runs again
//
// A message is settled once, but its handler runs at least once: again after
// a failure or a snooze, and again when the plugin, the host or the database
// went away before the outcome was committed, even if the handler had
// returned. Result and emitted messages are part of that commit. What the
// handler did elsewhere is not, so give other systems a key:
//
//	key := sdk.StepInfo(ctx).IdempotencyKey
//
// It is the same for every delivery of a message, also after it has been
// replayed from the dead letters. docs/idempotency.md tells which effects need
// it and how long keys are to be kept, and plugins/examples/ledger books each
// message once in a database of its own. [StepInfo] says what else is known of the
// step: namespace, message, attempt, deadline and the correlation that the
// message carried. It counts failed attempts only, so an Attempt of 1 does not
// mean that the handler never ran.
//
// # Configuration
//
// [MainWith] makes the plugin from the config block in the user's file. A
// struct is its schema:
//
//	type Config struct {
//		Endpoint string            `hcl:"endpoint" description:"where the gateway is"`
//		Currency string            `hcl:"currency" default:"EUR"`
//		Patience time.Duration     `hcl:"patience" default:"30s"`
//		APIKey   sdk.Secret        `hcl:"api_key,optional"`
//		Retries  *int              `hcl:"retries"`
//		Tags     map[string]string `hcl:"tags,optional"`
//		TLS      *TLS              `hcl:"tls,block"`
//		Backends []Backend         `hcl:"backend,block"`
//		Limits   map[string]Limit  `hcl:"limit,block"`
//	}
//
//	type TLS struct {
//		CAFile string `hcl:"ca_file"`
//	}
//
//	type Backend struct {
//		Name string `hcl:"name,label"`
//		URL  string `hcl:"url"`
//	}
//
//	type Limit struct {
//		PerSecond int `hcl:"per_second" default:"10"`
//	}
//
// The user writes:
//
//	config {
//	  endpoint = "https://gateway.example"
//	  api_key  = env("GATEWAY_KEY")
//	  tags     = { team = "shop" }
//	  backend "eu" {
//	    url = "https://eu.example"
//	  }
//	}
//
// The host checks that against the schema and points at the line that is
// wrong, before the plugin sees anything.
//
//   - Attributes are strings, bools, numbers of any Go type, [time.Duration]
//     (written as "1m30s"), [Secret], and slices, maps by string and pointers
//     of those. A pointer is nil where the attribute is absent.
//   - An attribute is required unless it is marked optional, is a pointer or
//     has a default. The default of a string, a duration or a secret is
//     written as it is, any other as JSON: `default:"[1, 2]"`.
//   - A block is a struct (exactly its defaults if it is left out, and
//     required if something inside is), a pointer to one (nil if it is left
//     out), a slice (any number), or a map (any number, each with a label as
//     its key). A slice of structs with a field tagged `hcl:"name,label"` takes
//     labelled blocks, ordered by label.
//   - A [Secret] shows itself to nobody but [Secret.Reveal].
//   - The fields of an embedded struct count as if they stood in the struct
//     itself. Fields without an hcl tag are yours. Types other than these panic
//     when the program starts, naming the field.
//
// The setup function checks what types cannot, connects, and returns the
// plugin:
//
//	func setup(ctx context.Context, cfg Config) (*sdk.Plugin, error) {
//		gateway, err := Dial(ctx, cfg.Endpoint, cfg.APIKey.Reveal())
//		if err != nil {
//			return nil, sdk.FieldError("endpoint", err)
//		}
//		p := &payments{gateway: gateway, currency: cfg.Currency, patience: cfg.Patience}
//		return sdk.New(
//			sdk.Handle("charge", p.charge, sdk.Default()),
//			sdk.Handle("import", p.importFile, sdk.Timeout(time.Hour)),
//			sdk.Use(timed),
//			sdk.MaxConcurrency(8), // what the gateway allows
//			sdk.OnClose(gateway.Close),
//		), nil
//	}
//
// and main only serves it:
//
//	func main() { sdk.MainWith(setup) }
//
// [FieldError] points the user at the line of an attribute; join several with
// errors.Join. A setup that fails or panics keeps the plugin from starting;
// what it had opened by then it closes itself.
//
// # Cancellation
//
// A step's context ends early when its time is up, the lease on its message is
// lost, the host cannot wait any longer while it drains, or somebody asks for
// it. context.Cause tells which: [ErrTimeout], [ErrLeaseLost], [ErrDraining],
// [ErrCancelled]. A handler need not know: pass ctx on to whatever waits and
// return the error. A timeout is a failed attempt, as is a request to stop;
// after a lost lease or a drain the message is given back and spends nothing.
//
// What the handler returns counts even then: nil is a success, a snooze stands,
// and so does, after a timeout or a request to stop, any verdict. A handler that
// ignores its context for kill_timeout costs the process: the host settles the
// message without it, starts another process, and kills this one once its other
// steps have ended or have had their time.
//
// # Heartbeats
//
// The host keeps the lease while a handler runs, however long that takes.
// [Heartbeat] only tells people how far it is, and returns the cause once the
// context has ended, which makes it a good condition for a loop:
//
//	for row := range in.Rows {
//		progress := sdk.Progress{Fraction: float64(row) / float64(in.Rows), Message: "importing"}
//		if err := sdk.Heartbeat(ctx, progress); err != nil {
//			return row, err // it has to stop, and err says why
//		}
//		if err := p.gateway.Store(ctx, row); err != nil {
//			return row, err
//		}
//	}
//
// # Middleware
//
// [Use] puts functions around every handler, for tracing, metrics, or a
// transaction. They see the message and the result as JSON, and may replace
// both, the context and the error:
//
//	func timed(next sdk.Next) sdk.Next {
//		return func(ctx context.Context, in []byte) ([]byte, error) {
//			began := time.Now()
//			out, err := next(ctx, in)
//			sdk.Logger(ctx).Debug("ran", "took", time.Since(began), "error", err)
//			return out, err
//		}
//	}
//
// # Logging
//
// [Logger] and [Slog] write lines that carry namespace, step, message and
// attempt into the host's log, and so does slog's default logger where it is
// given the handler's context (slog.InfoContext). Package log, hclog's default
// logger and what is printed are redirected there as well, but without those
// fields: nothing tells which of the handlers wrote such a line. The level is
// the host's. A log line never blocks a handler: if the host does not keep up,
// lines are dropped and counted. Do not print before [Main]: until the host
// has read the first line of stdout, that line is how it finds the plugin.
//
// # Clean-up
//
// [OnClose] functions run after the last step when the host stops the plugin,
// in reverse order, for about two seconds in all. The context that setup got
// ends just before. A process that crashes or is killed runs none of them.
//
// # Panic, timeout, drain
//
//   - A handler that panics, or ends its goroutine, fails its step with the
//     stack; the retry policy applies, and other steps go on. A panic in a
//     goroutine that a handler started ends the process, as in any Go program:
//     the host starts it anew, and the messages run again.
//   - When the time is up, the context ends and an error is reported as a
//     timeout. [Timeout] shortens the namespace's own timeout for a handler.
//   - When the host drains, steps that wait go back untouched and running ones
//     finish; those that are not done in time are cancelled with [ErrDraining].
//     SIGTERM and SIGINT are left to the host, so that a signal to the whole
//     process group does not end plugins before their steps.
//
// # Concurrency
//
// Each step runs in a goroutine that is its own as long as the handler runs, so
// there are as many handlers at work as the concurrency of the namespaces allows
// and, if the plugin needs a bound of its own, [MaxConcurrency]. Whatever they
// share needs the usual care. The goroutine takes another step afterwards: a
// handler undoes what it sets on it, like [runtime.LockOSThread], the labels of
// [runtime/pprof.SetGoroutineLabels] or [runtime/debug.SetPanicOnFault]. Functions
// that take a step's context may be called by all goroutines of the step; after
// the handler has returned they fail or do nothing.
//
// # In production
//
// Before a plugin is given to a host:
//
//	stephost plugin check bin/payments
//	stephost validate --plugins --config config.hcl
//
// The first holds the binary against the protocol, clause by clause; the second
// starts each plugin of a configuration once and shows what it finds wrong with
// its config block.
//
//   - [Version] or the version that the Go toolchain recorded is what `stephost
//     plugin list` shows; build from a tag.
//   - Host and plugins may be updated one after the other: a plugin declares the
//     version of the protocol that it speaks.
//   - The program itself runs only inside a host and says so when it is started
//     from a shell. The host's log_level = "debug" shows everything that the
//     plugin logs.
//   - Started with STEPHOST_ATTACH set to the plugin's name in config.hcl, the
//     program attaches to a running `stephost dev` instead and takes over the
//     plugin's steps. So it can be debugged: while it is attached no deadline is
//     in force. docs/debugging.md tells more.
//   - Garbage is collected when the heap has grown by 16 MiB or has doubled,
//     whichever is later; GOGC in the plugin's env or [runtime/debug.SetGCPercent]
//     put another pace into force.
//   - A process that the host has started and that a debugger stops does not
//     answer the host's health check and is killed before long.
//
// [sdktest]: https://pkg.go.dev/github.com/stephost/stephost/plugin/sdk/sdktest
package sdk
