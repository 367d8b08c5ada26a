package conformance

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func configureClauses() []Clause {
	return []Clause{{
		ID: "configure.accepts", Severity: Must, needs: "describe.schema",
		Title:  "takes its configuration",
		Demand: "Configure is called once, with the config block as JSON of the type that the schema implies; empty without a schema.",
		check: func(ctx context.Context, k *kit) error {
			_, err := k.usual(ctx)
			return err
		},
	}, {
		ID: "describe.steps", Severity: Must, needs: "configure.accepts",
		Title: "names its steps",
		Demand: "When it is configured, the plugin has described at least one step; names are not empty and unique, and at most one step is " +
			"the default.",
		check: checkSteps,
	}, {
		ID: "configure.description", Severity: Should, needs: "configure.accepts",
		Title:  "leaves the schema out of the answer to Configure",
		Demand: "A description in that answer replaces the first one, except for the schema, which the host has used by then.",
		check: func(ctx context.Context, k *kit) error {
			s, err := k.open(ctx)
			if err != nil {
				return err
			}
			first, err := k.describe(ctx, s)
			if err != nil {
				return err
			}
			value, err := k.config(ctx, first)
			if err != nil {
				return err
			}
			resp, err := k.configure(ctx, s, k.configureRequest(value))
			if err == nil && resp.GetDescription().GetConfig() != nil {
				return violated("no config schema in ConfigureResponse.description", "one", "")
			}
			return err
		},
	}, {
		ID: "configure.invalid", Severity: Must, needs: "configure.accepts",
		Title: "survives a configuration that is broken",
		Demand: "JSON that ends too early, values of the wrong type and missing values are refused, by a diagnostic or a gRPC error. " +
			"A host checks against the schema first, so a plugin may also be generous; but it must not crash or hang.",
		check: checkBrokenConfig,
	}, {
		ID: "configure.diagnostics", Severity: Must, needs: "configure.invalid",
		Title: "complains in a way that points at the user's file",
		Demand: "A diagnostic has a summary and a severity, and its path names an attribute or block of the schema, from the block's root; " +
			"without a path it is about the whole block.",
		check: func(_ context.Context, k *kit) error {
			if err := k.audit.verdict("configure.diagnostics"); err != nil {
				return err
			}
			if k.audit.refusals == 0 {
				return skip("the plugin had nothing to complain about")
			}
			return nil
		},
	}, {
		ID: "configure.first", Severity: Should, needs: "configure.accepts",
		Title:  "runs no steps before it is configured",
		Demand: "Configure comes before the first Execute; a stream that comes earlier ends with an error, and the plugin lives on.",
		check:  checkUnconfigured,
	}}
}

// checkBrokenConfig configures one new process with each broken value.
func checkBrokenConfig(ctx context.Context, k *kit) error {
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	schema := p.first.GetConfig()
	if schema == nil {
		return skip("the plugin declares no config schema")
	}
	values := [][]byte{[]byte(`{`), []byte(`[]`)}
	wrong, missing := map[string]any{}, map[string]any{}
	for _, a := range schema.GetAttributes() {
		wrong[a.GetName()] = []any{map[string]any{"not": "this"}}
		missing[a.GetName()] = nil
	}
	for _, b := range schema.GetBlocks() {
		wrong[b.GetTypeName()] = "not this"
		missing[b.GetTypeName()] = nil
	}
	for _, value := range []map[string]any{wrong, missing} {
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode a configuration: %w", err)
		}
		values = append(values, encoded)
	}
	for _, value := range values {
		if err := k.tryConfig(ctx, value); err != nil {
			return err
		}
	}
	return nil
}

// tryConfig demands that a process outlives a configuration.
func (k *kit) tryConfig(ctx context.Context, value []byte) error {
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	if _, err := k.describe(ctx, s); err != nil {
		return err
	}
	const hint = "check the JSON before it is used, and answer with a Diagnostic"
	expected := "a diagnostic or an error for the configuration " + quoted(value)
	_, configureErr := k.configure(ctx, s, k.configureRequest(value))
	if status.Code(configureErr) == codes.DeadlineExceeded {
		return violated(expected, fmt.Sprintf("no answer within %v", k.opts.Patience), hint)
	}
	if err := k.alive(ctx, s); err != nil {
		seen := err.Error()
		if configureErr != nil {
			seen = say(configureErr) + "; " + seen
		}
		return violated(expected, seen, hint)
	}
	return nil
}

func checkUnconfigured(ctx context.Context, k *kit) error {
	sample, err := k.quickest(ctx)
	if err != nil {
		return err
	}
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	first, err := k.describe(ctx, s)
	if err != nil {
		return err
	}
	x, err := k.exchange(ctx, &process{Session: s, first: first, described: first})
	if err != nil {
		return k.alive(ctx, s)
	}
	defer x.close()
	step := k.newStep(sample)
	if err := x.steps(step); err != nil {
		return err
	}
	// Any end will do.
	_ = x.await(ctx)
	if _, ran := x.answer(step).GetOutcome().(*pluginv1.Result_Success); ran {
		return violated("an error", "the step ran", "answer Execute with FAILED_PRECONDITION until Configure has been called")
	}
	return k.alive(ctx, s)
}
