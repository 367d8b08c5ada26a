package conformance

import (
	"context"
	"time"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// firstMeeting is what one process did that was started and described and
// nothing else. The clauses about that share it, for a start is dear.
type firstMeeting struct {
	// startErr is why the start failed.
	startErr  error
	took      time.Duration
	handshake supervisor.Handshake
	// describeErr is why one of two calls of Describe was not answered.
	describeErr   error
	first, second *pluginv1.DescribeResponse
}

// meet starts and describes a process, the first time.
func (k *kit) meet(ctx context.Context) *firstMeeting {
	if k.met != nil {
		return k.met
	}
	k.met = &firstMeeting{}
	began := time.Now()
	s, err := k.open(ctx)
	k.met.took = time.Since(began)
	if err != nil {
		k.met.startErr, k.met.describeErr = err, err
		return k.met
	}
	k.met.handshake = s.Handshake()
	if k.met.first, k.met.describeErr = k.describe(ctx, s); k.met.describeErr == nil {
		k.met.second, k.met.describeErr = k.describe(ctx, s)
	}
	k.name, k.version = k.met.first.GetName(), k.met.first.GetVersion()
	return k.met
}

// described makes a check of what Describe answers.
func described(f func(*pluginv1.DescribeResponse) error) func(context.Context, *kit) error {
	return func(ctx context.Context, k *kit) error {
		met := k.meet(ctx)
		if met.describeErr != nil {
			return met.describeErr
		}
		return f(met.first)
	}
}
