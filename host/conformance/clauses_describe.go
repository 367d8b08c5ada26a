package conformance

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stephost/stephost/internal/pluginconfig"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func describeClauses() []Clause {
	return []Clause{{
		ID: "describe.answers", Severity: Must, needs: "start.version",
		Title:  "describes itself before it is configured",
		Demand: "Describe comes first after a start and must not depend on configuration.",
		check:  described(func(*pluginv1.DescribeResponse) error { return nil }),
	}, {
		ID: "describe.repeatable", Severity: Must, needs: "describe.answers",
		Title:  "describes itself the same way twice",
		Demand: "Describe has no effects, and its answer does not change before Configure.",
		check:  checkRepeatable,
	}, {
		ID: "describe.name", Severity: Should, needs: "describe.answers",
		Title:  "has a name and a version",
		Demand: "People find the plugin by them in the status and in the logs.",
		check:  described(checkName),
	}, {
		ID: "describe.schema", Severity: Must, needs: "describe.answers",
		Title: "declares a config schema that can be read",
		Demand: "Attribute and block names are identifiers and unique in their block, types are cty's JSON notation, defaults are JSON of " +
			"their type, durations are strings, nesting is set, and min_items is not above max_items.",
		check: described(checkSchema),
	}, {
		ID: "describe.capabilities", Severity: Should, needs: "describe.answers",
		Title:  "declares capabilities that exist, once each",
		Demand: "A host does not know what to do with others.",
		check:  described(checkCapabilities),
	}}
}

func checkRepeatable(ctx context.Context, k *kit) error {
	met := k.meet(ctx)
	if met.describeErr != nil {
		return met.describeErr
	}
	if !proto.Equal(met.first, met.second) {
		return violated("the same answer twice", "two that differ", "keep the order of steps and attributes, and count nothing")
	}
	return nil
}

func checkName(d *pluginv1.DescribeResponse) error {
	if d.GetName() == "" || d.GetVersion() == "" {
		return violated("a name and a version", fmt.Sprintf("name %q, version %q", d.GetName(), d.GetVersion()), "")
	}
	return nil
}

func checkSchema(d *pluginv1.DescribeResponse) error {
	if err := pluginconfig.CheckSchema(d.GetConfig()); err != nil {
		return violated("a schema that a host can read", err.Error(), `a type is JSON: "string" with its quotes, ["list","number"]`)
	}
	return nil
}

func checkSteps(ctx context.Context, k *kit) error {
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	if len(p.described.GetSteps()) == 0 {
		return violated("at least one step", "none, in Describe and in the answer to Configure",
			"list the steps in Describe; where they depend on the configuration, answer Configure with a description")
	}
	for when, d := range map[string]*pluginv1.DescribeResponse{"Describe": p.first, "Configure": p.described} {
		names, defaults := map[string]bool{}, 0
		for _, s := range d.GetSteps() {
			if s.GetName() == "" || names[s.GetName()] {
				return violated("step names that are unique and not empty", fmt.Sprintf("%q in the answer to %s", s.GetName(), when), "")
			}
			names[s.GetName()] = true
			if s.GetDefault() {
				defaults++
			}
		}
		if defaults > 1 {
			return violated("at most one default step", fmt.Sprintf("%d in the answer to %s", defaults, when), "")
		}
	}
	return nil
}

func checkCapabilities(d *pluginv1.DescribeResponse) error {
	seen := map[pluginv1.Capability]bool{}
	for _, c := range d.GetCapabilities() {
		_, known := pluginv1.Capability_name[int32(c)]
		if c == pluginv1.Capability_CAPABILITY_UNSPECIFIED || !known || seen[c] {
			return violated("each known capability at most once", c.String(), "")
		}
		seen[c] = true
	}
	return nil
}

func checkUnknownFields(ctx context.Context, k *kit) error {
	const hint = "use a protobuf library that keeps or skips unknown fields, as all of them do by default"
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	limited, cancel := k.patience(ctx)
	defer cancel()
	first, err := s.Client().Describe(limited, fromTheFuture(&pluginv1.DescribeRequest{}))
	if err != nil {
		return violated("an answer to Describe", say(err), hint)
	}
	value, err := k.config(ctx, first)
	if err != nil {
		return err
	}
	resp, err := k.configure(ctx, s, fromTheFuture(k.configureRequest(value)))
	if err != nil {
		return violated("an answer to Configure", say(err), hint)
	}
	if refusal := refusalOf(resp); refusal != "" {
		return violated("the configuration is taken", refusal, hint)
	}
	p := &process{Session: s, first: first, described: first}
	if resp.GetDescription() != nil {
		p.described = resp.GetDescription()
	}
	sample, err := k.quickest(ctx)
	if err != nil {
		return err
	}
	x, err := k.exchange(ctx, p)
	if err != nil {
		return err
	}
	defer x.close()
	if err := x.send(fromTheFuture(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{fromTheFuture(k.newStep(sample))}})); err != nil {
		return err
	}
	return x.await(ctx)
}

// fromTheFuture adds a field that this version of the protocol does not have.
func fromTheFuture[M proto.Message](m M) M {
	const number = 12345
	raw := protowire.AppendTag(nil, number, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendString(raw, "from a later version"))
	return m
}
