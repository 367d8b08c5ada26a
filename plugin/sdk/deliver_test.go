package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// deliver hands a message to a plugin as a host would and prints what becomes
// of it. It is for the examples; message ids and times are fixed.
func deliver(plugin *sdk.Plugin, step, message string) {
	deliverWith(sdk.ServePlugin(io.Discard, plugin), "", step, message)
}

// deliverLogging prints the log lines of the handler as well.
func deliverLogging(plugin *sdk.Plugin, step, message string) {
	deliverWith(sdk.ServePlugin(os.Stdout, plugin).PlainLogs(os.Stdout), "", step, message)
}

// configure gives a setup function its config block, as the JSON that the host
// makes of it, and prints the host's diagnostics or the outcome of one step.
func configure[C any](setup func(context.Context, C) (*sdk.Plugin, error), config, step, message string) {
	deliverWith(sdk.ServeInProcessWith(io.Discard, setup), config, step, message)
}

func deliverWith(p *sdk.InProcess, config, step, message string) {
	if err := errors.Join(converse(protocol.NewClient(p.Conn), config, step, message), p.Close()); err != nil {
		fmt.Println("error:", err)
	}
}

func converse(client *protocol.Client, config, step, message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	configured, err := client.Configure(ctx, &pluginv1.ConfigureRequest{Config: []byte(config)})
	if err != nil {
		return err
	}
	for _, d := range configured.GetDiagnostics() {
		fmt.Printf("%s: %s\n", pathText(d.GetPath()), d.GetDetail())
	}
	if len(configured.GetDiagnostics()) > 0 {
		return nil
	}
	rpc, err := client.Execute(ctx)
	if err != nil {
		return err
	}
	err = rpc.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{{
		Id: 1, Namespace: "payments", Step: step, Input: []byte(message), Queue: "payments_queue", MessageId: 17,
		Attempt: 2, IdempotencyKey: "payments_queue/17", CorrelationId: "order-1",
	}}})
	if err := errors.Join(err, rpc.CloseSend()); err != nil {
		return err
	}
	for {
		resp, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range resp.GetResults() {
			show(r)
		}
	}
}

// show prints a result for people.
func show(r *pluginv1.Result) {
	switch o := r.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		fmt.Printf("success: %s\n", o.Success.GetOutput())
		for _, e := range o.Success.GetEmits() {
			fmt.Printf("emitted to %s%s: %s", e.GetNamespace(), e.GetQueue(), e.GetBody())
			if len(e.GetHeaders()) > 0 {
				fmt.Printf(" with headers %s", e.GetHeaders())
			}
			if e.GetDelayMs() > 0 {
				fmt.Printf(" in %d ms", e.GetDelayMs())
			}
			fmt.Println()
		}
	case *pluginv1.Result_Failure:
		fmt.Printf("%s: %s", o.Failure.GetType(), o.Failure.GetMessage())
		switch o.Failure.GetVerdict() {
		case pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT:
			fmt.Print(" (permanent)")
		case pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER:
			fmt.Printf(" (retry after %d ms)", o.Failure.GetRetryAfterMs())
		default:
		}
		fmt.Println()
	case *pluginv1.Result_Snooze:
		fmt.Printf("snoozed for %d ms\n", o.Snooze.GetDelayMs())
	default:
		fmt.Printf("%v\n", r)
	}
}
