// Package handlers is a plugin whose handlers take time.
package handlers

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// Command is the first argument that makes this program the plugin; the second
// says what its handlers do, the third for how long, as Go writes durations.
const Command = "working-plugin"

// What a handler does.
const (
	// Sleep waits, as a handler that calls another service does.
	Sleep = "sleep"
	// Spin computes.
	Spin = "spin"
)

// Args are the arguments that start the plugin.
func Args(does string, d time.Duration) []string { return []string{Command, does, d.String()} }

// Main serves the handler. args are what follows Command. It returns the exit
// code.
func Main(args []string) int {
	work, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	sdk.Main(sdk.HandleRaw("work", func(context.Context, []byte) ([]byte, error) {
		work()
		return nil, nil
	}))
	return 0
}

func parse(args []string) (work func(), err error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("%s needs what to do and for how long", Command)
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return nil, err
	}
	switch args[0] {
	case Sleep:
		return func() { time.Sleep(d) }, nil
	case Spin:
		turns := calibrate(d)
		return func() { spin(turns) }, nil
	}
	return nil, fmt.Errorf("%s: %q is neither %s nor %s", Command, args[0], Sleep, Spin)
}

// calibrate returns how many turns take that long on an idle core: work is an
// amount, so that a handler that has to share its core takes longer.
func calibrate(d time.Duration) int {
	const turns = 1 << 20
	best := time.Hour
	for range 20 {
		began := time.Now()
		spin(turns)
		best = min(best, time.Since(began))
	}
	return int(float64(turns) * float64(d) / float64(best))
}

// spin computes something that nobody asks for.
func spin(turns int) {
	x := uint64(turns) | 1
	for range turns {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	runtime.KeepAlive(x)
}
