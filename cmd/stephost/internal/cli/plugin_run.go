package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// The exit codes of `plugin run` for steps that ran and did not succeed.
const (
	ExitStepFailed    = 4 // the retry policy would decide
	ExitStepPermanent = 5
	ExitStepGivenBack = 6 // snoozed, or not accepted
)

func (a *app) pluginRunCommand() *cobra.Command {
	o := alone{app: a}
	var (
		input   string
		verbose bool
		req     host.StepRequest
	)
	cmd := &cobra.Command{
		Use:   "run PATH [ARG...]",
		Short: "Run one step in a plugin, without a host, a queue or a database",
		Long: `Start a plugin, run one step in it, show the outcome and stop it again. What the
handler emits is shown and sent nowhere. Logs and heartbeats go to standard error.

` + aloneHelp + `

Exit codes:
  0    the step succeeded
  1    the plugin did not start, crashed, or did not answer
  2    wrong usage, or an invalid configuration
  4    the step failed; the namespace's retry policy would decide
  5    the step failed permanently; its message would be dead-lettered
  6    the step was snoozed or not accepted
  130  interrupted; the handler was cancelled first`,
		Example: `  stephost plugin run bin/plugins/orders --step charge --input '{"amount_cents": 100}'
  stephost plugin run orders --step charge --input @message.json --attempt 3
  generate | stephost plugin run ./plugin.py --tls off --input -`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Input, err = o.input(cmd, input); err != nil {
				return err
			}
			if req.Attempt < 1 || req.Timeout < 0 {
				return usagef(cmd, "--attempt is at least 1, and --timeout not negative")
			}
			level := hclog.Info
			if verbose {
				level = hclog.Trace
			}
			logger := a.pluginLogger(level)
			req.OnHeartbeat = func(b *pluginv1.Heartbeat) { logHeartbeat(logger, b) }
			defer o.close()
			spec, deps, err := o.open(cmd, args, logger)
			if err != nil {
				return err
			}
			spec.LogLevel = level.String()
			step, result, err := host.RunStep(cmd.Context(), spec, deps, req)
			if err != nil {
				return a.notRun(err)
			}
			return a.printStep(step, result)
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&req.Step, "step", "", "the step to run (default: the plugin's default step, or its only one)")
	cmd.Flags().StringVar(&input, "input", "{}", "its input: a JSON object, @FILE, or - for standard input")
	cmd.Flags().DurationVar(&req.Timeout, "timeout", 20*time.Second, "how long the handler may run; 0: without limit")
	cmd.Flags().IntVar(&req.Attempt, "attempt", 1, "the attempt that the handler is told")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the plugin's log from its lowest level on")
	return cmd
}

// input is a message body.
func (o *alone) input(cmd *cobra.Command, value string) ([]byte, error) {
	raw, err := o.text(value)
	if err != nil {
		return nil, usagef(cmd, "read the input: %w", err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return nil, usagef(cmd, "the input is not a JSON object, as message bodies are: %w", err)
	}
	return raw, nil
}

func logHeartbeat(logger hclog.Logger, b *pluginv1.Heartbeat) {
	var fields []any
	if b.GetFraction() >= 0 {
		fields = append(fields, "fraction", fmt.Sprintf("%.0f%%", 100*b.GetFraction()))
	}
	if b.GetMessage() != "" {
		fields = append(fields, "message", b.GetMessage())
	}
	logger.Info("heartbeat", fields...)
}

// notRun shows the diagnostics of a refused configuration as they are, and
// what else went wrong with the plugin in full.
func (a *app) notRun(err error) error {
	var (
		refused *supervisor.ConfigError
		start   *supervisor.StartError
		crash   *supervisor.CrashError
	)
	var text string
	switch {
	case errors.As(err, &refused):
		if _, printErr := fmt.Fprintln(a.stderr, refused.Err); printErr != nil {
			return printErr
		}
		return &reportedError{code: ExitUsage}
	case errors.As(err, &start):
		text = start.Error()
	case errors.As(err, &crash):
		text = crash.Report()
	default:
		return err
	}
	if _, printErr := fmt.Fprintf(a.stderr, "stephost: %s\n", text); printErr != nil {
		return printErr
	}
	return &reportedError{code: ExitFailure}
}

// stepOutcome is a result, for programs.
type stepOutcome struct {
	Step    string          `json:"step"`
	Outcome string          `json:"outcome"` // success, failure, snooze or not_accepted
	TookUS  int64           `json:"took_us"`
	Output  json.RawMessage `json:"output,omitempty"`
	Emits   []stepEmit      `json:"emits,omitempty"`
	Failure *stepFailure    `json:"failure,omitempty"`
	// DelayMS is when the message would come again.
	DelayMS int64  `json:"delay_ms,omitempty"`
	Reason  string `json:"reason,omitempty"`

	exit int
}

type stepEmit struct {
	Queue     string          `json:"queue,omitempty"`
	Namespace string          `json:"namespace,omitempty"`
	DelayMS   int64           `json:"delay_ms,omitempty"`
	Body      json.RawMessage `json:"body"`
	Headers   json.RawMessage `json:"headers,omitempty"`
}

type stepFailure struct {
	Message string `json:"message"`
	Type    string `json:"type,omitempty"`
	// Verdict is policy, permanent or retry_after.
	Verdict string `json:"verdict"`
	Stack   string `json:"stack,omitempty"`
}

func outcomeOf(step string, r *pluginv1.Result) stepOutcome {
	out := stepOutcome{Step: step, TookUS: r.GetDurationUs()}
	switch o := r.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		out.Outcome, out.Output = "success", asJSON(o.Success.GetOutput())
		for _, e := range o.Success.GetEmits() {
			out.Emits = append(out.Emits, stepEmit{
				Queue: e.GetQueue(), Namespace: e.GetNamespace(), DelayMS: e.GetDelayMs(), Body: asJSON(e.GetBody()), Headers: e.GetHeaders(),
			})
		}
	case *pluginv1.Result_Failure:
		f := o.Failure
		out.Outcome, out.exit = "failure", ExitStepFailed
		out.Failure = &stepFailure{Message: f.GetMessage(), Type: f.GetType(), Verdict: "policy", Stack: f.GetStack()}
		switch f.GetVerdict() {
		case pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT:
			out.Failure.Verdict, out.exit = "permanent", ExitStepPermanent
		case pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER:
			out.Failure.Verdict, out.DelayMS = "retry_after", f.GetRetryAfterMs()
		}
	case *pluginv1.Result_Snooze:
		out.Outcome, out.DelayMS, out.exit = "snooze", o.Snooze.GetDelayMs(), ExitStepGivenBack
	default:
		out.Outcome, out.Reason, out.exit = "not_accepted", r.GetNotAccepted().GetReason(), ExitStepGivenBack
	}
	return out
}

// asJSON is what a plugin sent as JSON; what is none becomes a string, so that
// it can be shown.
func asJSON(raw []byte) json.RawMessage {
	switch {
	case len(raw) == 0:
		return json.RawMessage("null")
	case json.Valid(raw):
		return raw
	}
	quoted, _ := json.Marshal(string(raw))
	return quoted
}

// printStep shows the outcome. Its error only carries the exit code.
func (a *app) printStep(step string, r *pluginv1.Result) error {
	out := outcomeOf(step, r)
	err := error(nil)
	if a.json {
		err = a.printJSON(out)
	} else {
		err = a.printOutcome(out)
	}
	if err == nil && out.exit != ExitOK {
		return &reportedError{code: out.exit}
	}
	return err
}

func (a *app) printOutcome(out stepOutcome) error {
	t := newTable(a.stdout)
	t.row("step", out.Step)
	t.row("outcome", outcomeText(out))
	t.row("took", shortDuration(time.Duration(out.TookUS)*time.Microsecond))
	if out.Outcome == "success" {
		t.row("output", string(out.Output))
	}
	for _, e := range out.Emits {
		t.row("emits", emitText(e))
	}
	if err := t.flush(); err != nil || out.Failure == nil || out.Failure.Stack == "" {
		return err
	}
	return a.printf("\n%s\n", strings.TrimSpace(out.Failure.Stack))
}

func outcomeText(out stepOutcome) string {
	delay := shortDuration(time.Duration(out.DelayMS) * time.Millisecond)
	switch out.Outcome {
	case "failure":
		next := map[string]string{
			"policy": "the retry policy decides", "permanent": "permanent: its message would be dead-lettered", "retry_after": "retry after " + delay,
		}[out.Failure.Verdict]
		return fmt.Sprintf("failure of type %s: %s (%s)", out.Failure.Type, out.Failure.Message, next)
	case "snooze":
		return "snooze for " + delay
	case "not_accepted":
		return "not accepted: " + out.Reason
	}
	return out.Outcome
}

func emitText(e stepEmit) string {
	text := "to queue " + e.Queue
	if e.Namespace != "" {
		text = "to namespace " + e.Namespace
	}
	if e.DelayMS > 0 {
		text += " after " + shortDuration(time.Duration(e.DelayMS)*time.Millisecond)
	}
	if len(e.Headers) > 0 {
		text += " with headers " + string(e.Headers)
	}
	return text + ": " + string(e.Body)
}
