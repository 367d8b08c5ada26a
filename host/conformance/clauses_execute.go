package conformance

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func executeClauses() []Clause {
	return []Clause{{
		ID: "health.answers", Severity: Must, needs: "configure.accepts",
		Title: "answers health checks",
		Demand: "grpc.health.v1.Health says SERVING for the empty service name, or is not implemented. A host asks from time to time, " +
			"and kills a process that does not answer.",
		check: checkHealth,
	}, {
		ID: "execute.answers", Severity: Must, needs: "configure.accepts",
		Title:  "answers each of its steps",
		Demand: "Every step ends in one Result: a success, a failure, a snooze or not accepted.",
		check: func(ctx context.Context, k *kit) error {
			samples, err := k.samples(ctx)
			if err != nil {
				return err
			}
			return note(fmt.Sprintf("%d steps run", len(samples)))
		},
	}, {
		ID: "execute.batch", Severity: Must, needs: "execute.answers",
		Title:  "takes a batch of steps",
		Demand: fmt.Sprintf("One message has up to %d steps; results come in any order and in batches of any size.", protocol.MaxBatchSteps),
		check:  checkBatch,
	}, {
		ID: "execute.ids", Severity: Must, needs: "execute.answers",
		Title:  "keeps ids exactly",
		Demand: "A step's id is an unsigned 64-bit number and comes back in its Result as it is; other numbers are 64 bits wide too.",
		check: func(ctx context.Context, k *kit) error {
			return k.runQuick(ctx, func(s *pluginv1.Step) []*pluginv1.Step {
				var steps []*pluginv1.Step
				for _, id := range []uint64{1<<53 + 1, 1<<63 + 3, math.MaxUint64} {
					other := k.newStep(Sample{s.GetStep(), s.GetInput()})
					other.Id, other.MessageId = id, math.MaxInt64
					steps = append(steps, other)
				}
				return steps
			})
		},
	}, {
		ID: "execute.inputs", Severity: Must, needs: "execute.answers",
		Title:  "answers inputs that its handlers do not expect",
		Demand: "The input is any JSON object that somebody put into the queue. A handler that cannot use it fails; the process lives on.",
		check:  checkInputs,
	}, {
		ID: "execute.unknown-step", Severity: Must, needs: "execute.answers",
		Title: "fails steps that it does not have",
		Demand: "A step with a name that the plugin has not described comes back as a failure (best of the type " +
			protocol.FailureUnknownStep + ") or as not accepted.",
		check: checkUnknownStep,
	}, {
		ID: "execute.large", Severity: Must, needs: "execute.answers",
		Title: "takes large inputs",
		Demand: fmt.Sprintf("Bodies are up to 256 MiB, so both sides raise gRPC's limit of 4 MiB to %d bytes. Those above %d KiB travel on a "+
			"stream of their own.", protocol.MaxMessageBytes, protocol.LargeBodyBytes>>10),
		check: checkLarge,
	}, {
		ID: "execute.streams", Severity: Must, needs: "execute.answers",
		Title:  "serves several streams at once",
		Demand: "A host holds several Execute streams to a process; each step is answered on its own.",
		check:  checkStreams,
	}, {
		ID: "execute.empty", Severity: Must, needs: "execute.answers",
		Title:  "ignores empty messages",
		Demand: "An ExecuteRequest may have neither steps nor cancellations.",
		check: func(ctx context.Context, k *kit) error {
			return k.withStream(ctx, func(x *exchange, s Sample) error {
				if err := x.send(&pluginv1.ExecuteRequest{}); err != nil {
					return err
				}
				return x.run(ctx, k.newStep(s))
			})
		},
	}, {
		ID: "protocol.unknown-fields", Severity: Must, needs: "execute.answers",
		Title:  "ignores fields that it does not know",
		Demand: "Within a version of the protocol fields are only added, so a newer host sends some that an older plugin does not know.",
		check:  checkUnknownFields,
	}, {
		ID: "execute.reset", Severity: Must, needs: "execute.answers",
		Title:  "outlives a stream that breaks",
		Demand: "A host may reset a stream with steps in flight. Nobody reads their results any more; the process and other streams go on.",
		check:  checkReset,
	}}
}

// withStream runs a function with a stream to the shared process and the
// quickest sample.
func (k *kit) withStream(ctx context.Context, f func(*exchange, Sample) error) error {
	sample, err := k.quickest(ctx)
	if err != nil {
		return err
	}
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	x, err := k.exchange(ctx, p)
	if err != nil {
		return err
	}
	defer x.close()
	if err := f(x, sample); err != nil {
		return err
	}
	return k.alive(ctx, p.Session)
}

// runQuick runs steps that are made of the quickest one.
func (k *kit) runQuick(ctx context.Context, of func(*pluginv1.Step) []*pluginv1.Step) error {
	return k.withStream(ctx, func(x *exchange, s Sample) error { return x.run(ctx, of(k.newStep(s))...) })
}

func checkHealth(ctx context.Context, k *kit) error {
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	limited, cancel := k.patience(ctx)
	defer cancel()
	resp, err := p.Client().Health.Check(limited, &healthpb.HealthCheckRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return note("it is not implemented")
	case err != nil:
		return violated("SERVING, or UNIMPLEMENTED", say(err), "")
	case resp.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return violated("SERVING, or UNIMPLEMENTED", resp.GetStatus().String(), "set the status of the empty service name")
	}
	return nil
}

func checkBatch(ctx context.Context, k *kit) error {
	samples, err := k.samples(ctx)
	if err != nil {
		return err
	}
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	quick, err := k.quickest(ctx)
	if err != nil {
		return err
	}
	n := protocol.MaxBatchSteps
	for _, s := range samples {
		if s.Step == quick.Step && string(s.Input) == string(quick.Input) {
			n = min(n, k.batchOf(s, p.described))
		}
	}
	if n < 2 {
		return skip("no step is quick enough")
	}
	err = k.runQuick(ctx, func(s *pluginv1.Step) []*pluginv1.Step { return k.newSteps(quick, n) })
	if err != nil {
		return err
	}
	return note(fmt.Sprintf("%d steps in one message", n))
}

// oddInputs are objects that a handler is unlikely to expect.
func oddInputs() map[string]string {
	return map[string]string{
		"no members":       `{}`,
		"unknown members":  `{"conformance": true, "": null, "a b": [], "ключ": "значение", "😀": "\"\\\/\b\t"}`,
		"deep nesting":     strings.Repeat(`{"a":[`, 100) + strings.Repeat(`]}`, 100),
		"large numbers":    `{"n": 123456789012345678901234567890, "x": -1.5e300, "z": 1e-300}`,
		"a repeated key":   `{"a": 1, "a": "two"}`,
		"much white space": "{" + strings.Repeat(" \n\t", 1000) + "}",
	}
}

func checkInputs(ctx context.Context, k *kit) error {
	samples, err := k.samples(ctx)
	if err != nil {
		return err
	}
	return k.withStream(ctx, func(x *exchange, _ Sample) error {
		what := map[uint64]string{}
		var steps []*pluginv1.Step
		for _, s := range samples {
			for kind, input := range oddInputs() {
				step := k.newStep(Sample{s.Step, []byte(input)})
				steps = append(steps, step)
				what[step.GetId()] = fmt.Sprintf("%s with %s", s.Step, kind)
			}
		}
		err := x.run(ctx, steps...)
		if err == nil {
			return nil
		}
		var left []string
		for _, step := range steps {
			if x.answer(step) == nil {
				left = append(left, what[step.GetId()])
			}
		}
		return violated("a Result for each of "+strings.Join(left, ", "), err.Error(), "catch what a handler throws, and answer with a failure")
	})
}

func checkUnknownStep(ctx context.Context, k *kit) error {
	return k.withStream(ctx, func(x *exchange, s Sample) error {
		stranger := k.newStep(Sample{"conformance-no-such-step", []byte("{}")})
		if err := x.run(ctx, stranger, k.newStep(s)); err != nil {
			return err
		}
		switch o := x.answer(stranger).GetOutcome().(type) {
		case *pluginv1.Result_Failure, *pluginv1.Result_NotAccepted:
			return nil
		default:
			return violated("a failure, or not accepted", fmt.Sprintf("%T", o), "look the handler up by name, and do not fall back to the default step: the host has resolved it")
		}
	})
}

func checkLarge(ctx context.Context, k *kit) error {
	for _, size := range []int{300 << 10, 5 << 20} {
		err := k.withStream(ctx, func(x *exchange, s Sample) error {
			input := fmt.Sprintf(`{"padding":%q}`, strings.Repeat("x", size))
			return x.run(ctx, k.newStep(Sample{s.Step, []byte(input)}))
		})
		if err != nil {
			return violated(fmt.Sprintf("a Result for an input of %d KiB", size>>10), err.Error(),
				fmt.Sprintf("set the largest message that the gRPC server receives and sends to %d bytes", protocol.MaxMessageBytes))
		}
	}
	return nil
}

func checkStreams(ctx context.Context, k *kit) error {
	return k.withStream(ctx, func(first *exchange, s Sample) error {
		p, err := k.usual(ctx)
		if err != nil {
			return err
		}
		second, err := k.exchange(ctx, p)
		if err != nil {
			return err
		}
		defer second.close()
		for range 20 {
			for _, x := range []*exchange{first, second} {
				if err := x.steps(k.newStep(s)); err != nil {
					return err
				}
			}
		}
		for _, x := range []*exchange{first, second} {
			if err := x.await(ctx); err != nil {
				return err
			}
		}
		// One that has ended does not end the other.
		second.halfClose()
		return first.run(ctx, k.newStep(s))
	})
}

func checkReset(ctx context.Context, k *kit) error {
	samples, err := k.samples(ctx)
	if err != nil {
		return err
	}
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	x, err := k.exchange(ctx, p)
	if err != nil {
		return err
	}
	for _, s := range samples {
		if err := x.steps(k.newSteps(s.Sample, 5)...); err != nil {
			x.reset()
			return err
		}
	}
	x.reset()
	// What is wrong with the process may take a moment to show.
	select {
	case <-p.Exited():
	case <-time.After(stragglers):
	}
	if err := k.alive(ctx, p.Session); err != nil {
		return err
	}
	return k.runQuick(ctx, func(s *pluginv1.Step) []*pluginv1.Step { return []*pluginv1.Step{s} })
}
