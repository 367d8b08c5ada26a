// Package exampletest is a test for examples, which have no *testing.T: it
// prints what the test would log.
package exampletest

import (
	"fmt"
	"runtime"
)

// T stands in for *testing.T.
type T struct{ cleanups []func() }

// Run calls an example's body and then what it has left to clean up.
func Run(body func(t *T)) {
	t := &T{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		body(t)
	}()
	<-done
}

func (t *T) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

// Helper does nothing.
func (t *T) Helper() {}

// Cleanup registers what runs at the end, in reverse order.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Logf prints a line.
func (t *T) Logf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Errorf prints a line.
func (t *T) Errorf(format string, args ...any) { fmt.Printf("FAIL: "+format+"\n", args...) }

// Fatalf prints a line and ends the example.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
