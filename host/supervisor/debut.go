package supervisor

import (
	"context"
	"fmt"
	"sync"
)

// debut is how an instance's first start went.
type debut struct {
	once sync.Once
	// done is closed with the end of the first start; err is valid then.
	done chan struct{}
	err  error
}

func newDebut() *debut { return &debut{done: make(chan struct{})} }

// end notes the end of a start; the first one counts.
func (d *debut) end(err error) {
	d.once.Do(func() {
		d.err = err
		close(d.done)
	})
}

// WaitStarted waits until each instance has become ready once. Unlike WaitReady
// it gives up with the first start that fails, although the instance goes on
// trying.
func (p *Plugin) WaitStarted(ctx context.Context) error {
	for _, i := range p.instances {
		select {
		case <-i.debut.done:
			if err := i.debut.err; err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for plugin %q: %w: %s", p.spec.Name, context.Cause(ctx), p.State().Reason)
		}
	}
	return nil
}
