package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

const (
	// sampleTimeout is the timeout_ms of steps, where a clause has no other.
	sampleTimeout = 2 * time.Second
	// slow is how long a step must run so that something can be done to it
	// meanwhile.
	slow = 500 * time.Millisecond
	// running is how long a slow step is given to begin.
	running = 100 * time.Millisecond
)

// timedSample is a sample that has been run once.
type timedSample struct {
	Sample
	took time.Duration
	// completed tells a sample that ended by itself from one whose time was up.
	completed bool
	// succeeded tells what its handler made of it.
	succeeded bool
}

// sampled are all samples, or why they could not be run.
type sampled struct {
	samples []timedSample
	err     error
}

// samples runs all samples, the first time.
func (k *kit) samples(ctx context.Context) ([]timedSample, error) {
	if k.sampled == nil {
		samples, err := k.runSamples(ctx)
		k.sampled = &sampled{samples, err}
	}
	return k.sampled.samples, k.sampled.err
}

func (k *kit) runSamples(ctx context.Context) ([]timedSample, error) {
	p, err := k.usual(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := k.chooseSamples(p.described)
	if err != nil {
		return nil, err
	}
	x, err := k.exchange(ctx, p)
	if err != nil {
		return nil, err
	}
	defer x.close()
	var timed []timedSample
	for _, s := range chosen {
		step := k.newStep(s)
		began := time.Now()
		if err := x.run(ctx, step); err != nil {
			return nil, fmt.Errorf("step %q with the input %s: %w", s.Step, quoted(s.Input), err)
		}
		took := time.Since(began)
		_, succeeded := x.answer(step).GetOutcome().(*pluginv1.Result_Success)
		timed = append(timed, timedSample{Sample: s, took: took, completed: took < sampleTimeout, succeeded: succeeded})
	}
	return timed, nil
}

// chooseSamples has the caller's samples, and {} for the other steps.
func (k *kit) chooseSamples(d *pluginv1.DescribeResponse) ([]Sample, error) {
	chosen := slices.Clone(k.opts.Samples)
	for _, s := range chosen {
		if !slices.ContainsFunc(d.GetSteps(), func(step *pluginv1.StepDescription) bool { return step.GetName() == s.Step }) {
			return nil, violated(fmt.Sprintf("the step %q, for which an input is given", s.Step), "a plugin that does not have it", "")
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(s.Input, &object) != nil || object == nil {
			return nil, violated("a JSON object as the input of "+s.Step, quoted(s.Input), "message bodies are JSON objects")
		}
	}
	for _, step := range d.GetSteps() {
		if !slices.ContainsFunc(chosen, func(s Sample) bool { return s.Step == step.GetName() }) {
			chosen = append(chosen, Sample{Step: step.GetName(), Input: []byte("{}")})
		}
	}
	if len(chosen) == 0 {
		return nil, skip("the plugin has no steps")
	}
	return chosen, nil
}

// quickest is the sample that took least among those that succeed quickly, since
// a success cannot be taken for a refusal; else among all.
func (k *kit) quickest(ctx context.Context) (Sample, error) {
	samples, err := k.samples(ctx)
	if err != nil {
		return Sample{}, err
	}
	suits := func(s timedSample) bool { return s.succeeded && s.took < slow }
	return slices.MinFunc(samples, func(a, b timedSample) int {
		if suits(a) != suits(b) {
			if suits(a) {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.took, b.took)
	}).Sample, nil
}

// slowest is a sample that runs for a while.
func (k *kit) slowest(ctx context.Context) (timedSample, error) {
	samples, err := k.samples(ctx)
	if err != nil {
		return timedSample{}, err
	}
	s := slices.MaxFunc(samples, func(a, b timedSample) int { return int(a.took - b.took) })
	if s.took < slow {
		return timedSample{}, skip(fmt.Sprintf("no step runs for %v; give one that does, with --step and --input", slow))
	}
	return s, nil
}

// batchOf is how many steps of a sample end within the kit's patience, when
// the plugin runs as many at once as it says.
func (k *kit) batchOf(s timedSample, d *pluginv1.DescribeResponse) int {
	lanes := int(d.GetMaxConcurrency())
	if lanes == 0 {
		lanes = 100
	}
	return int(k.opts.Patience/max(s.took, time.Microsecond)) * lanes
}
