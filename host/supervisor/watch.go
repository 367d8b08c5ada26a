package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// checkHealth asks once. Any answer but "not serving" is a sign of life.
func (p *process) checkHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Timeouts.Health)
	defer cancel()
	resp, err := p.api.Health.Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil
	case err != nil:
		return fmt.Errorf("health check: %w", inTime(err, p.spec.Timeouts.Health))
	case resp.GetStatus() == healthpb.HealthCheckResponse_NOT_SERVING:
		return errors.New("health check: it says that it is not serving")
	}
	return nil
}

// watch notices the end of the process and ends it when it stops answering.
func (p *process) watch() {
	c := p.runner.process()
	p.work.Go(func() {
		select {
		case <-c.exited:
			p.fail(nil)
		case <-p.life.Done():
		}
	})
	p.work.Go(func() {
		tick := time.NewTicker(p.spec.Timeouts.HealthInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-p.life.Done():
				return
			}
			if err := p.checkHealth(p.life); err != nil && p.life.Err() == nil {
				p.fail(err)
				return
			}
		}
	})
	p.watchStreams()
}

// watchStreams notices streams that end too early.
func (p *process) watchStreams() {
	for _, s := range []*stream{p.small, p.large} {
		p.work.Go(func() {
			<-s.ended
			if err := s.failure(); err != nil {
				p.fail(err)
			}
		})
	}
}

// fail declares the process unfit. The first cause counts; nil says that it
// ended by itself.
func (p *process) fail(cause error) {
	p.failOnce.Do(func() {
		p.cause = cause
		close(p.failed)
	})
}
