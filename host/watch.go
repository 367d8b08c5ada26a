package host

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/internal/filewatch"
)

// programs watches the programs of the plugins with watch = true and swaps the
// plugins whose program has another content.
type programs struct {
	host *Host
	end  context.CancelFunc
	// looking is the loop, swaps are what it has begun.
	looking, swaps sync.WaitGroup

	mu    sync.Mutex
	files map[string]*watchedFile // by plugin
}

// A program is looked at every watchInterval, and is complete when it has not
// changed for watchQuiet: it may be copied from far away.
const (
	watchInterval = 250 * time.Millisecond
	watchQuiet    = 500 * time.Millisecond
)

// watchedFile is the program of one plugin.
type watchedFile struct {
	command string
	changes filewatch.Debounce
	// sum is of the content that runs or was refused; empty: not known.
	sum string
	// swapping: nothing is looked for until the swap is done.
	swapping bool
}

// start notes the programs as they are and watches them until stop.
func (p *programs) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	p.look(ctx)
	p.looking.Go(func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.look(ctx)
			}
		}
	})
}

// stop ends the watching. A swap that is under way goes on; see wait.
func (p *programs) stop() {
	if p.end != nil {
		p.end()
		p.looking.Wait()
	}
}

// wait joins the swaps, which end with the fleet at the latest.
func (p *programs) wait() { p.swaps.Wait() }

// look sees which programs have changed. Which ones are watched is up to the
// configuration in force.
func (p *programs) look(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	watched := make(map[string]*watchedFile)
	for _, plugin := range p.host.cfg().Plugins {
		if !plugin.Watch {
			continue
		}
		file := p.files[plugin.Name]
		if file == nil || file.command != plugin.Command {
			sum, _ := filewatch.Sum(plugin.Command) // not there: any content is new
			file = &watchedFile{command: plugin.Command, sum: sum, changes: filewatch.Debounce{Quiet: watchQuiet}}
		}
		watched[plugin.Name] = file
		if file.swapping || !file.changes.Look(filewatch.State(file.command), time.Now()) {
			continue
		}
		if sum, ok := file.changed(); ok {
			file.swapping = true
			p.swaps.Go(func() { p.swap(ctx, plugin.Name, file, sum) })
		}
	}
	p.files = watched
}

// changed tells whether there is another program, complete and executable.
func (f *watchedFile) changed() (sum string, ok bool) {
	info, err := os.Stat(f.command)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", false // the next change may make it whole
	}
	sum, err = filewatch.Sum(f.command)
	return sum, err == nil && sum != f.sum
}

func (p *programs) swap(ctx context.Context, plugin string, file *watchedFile, sum string) {
	p.host.log.Info("the program of a plugin has changed", "plugin", plugin, "command", file.command)
	_, err := p.host.ProgramChanged(ctx, plugin)
	p.mu.Lock()
	defer p.mu.Unlock()
	file.swapping = false
	var busy *fleet.BusyError
	if errors.As(err, &busy) {
		file.changes.Again()
		return
	}
	// Also what does not come up is not tried again before it changes.
	file.sum = sum
}

// sum is of a watched plugin's program as it is now.
func (p *programs) sum(plugin string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if file := p.files[plugin]; file != nil {
		sum, _ := filewatch.Sum(file.command)
		return sum
	}
	return ""
}

// runs notes that a plugin runs a program of that sum already.
func (p *programs) runs(plugin, sum string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if file := p.files[plugin]; file != nil {
		file.sum = sum
	}
}
