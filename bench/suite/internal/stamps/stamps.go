// Package stamps tells when things happened in another process: a file that both
// have mapped has a place for each, and whoever sees it happen writes the time
// there. Processes of one machine share the clock.
package stamps

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stamps is a mapped file of times. It is safe for concurrent use.
type Stamps struct {
	mapped []byte
	places []int64
}

// Create makes a file in a directory with n places, all of them empty.
func Create(dir string, n int) (_ *Stamps, path string, err error) {
	file, err := os.CreateTemp(dir, "stamps-")
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	if err := file.Truncate(int64(n) * 8); err != nil {
		return nil, "", err
	}
	s, err := mapFile(file)
	return s, file.Name(), err
}

// Open maps a file that Create made.
func Open(path string) (*Stamps, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return mapFile(file)
}

func mapFile(file *os.File) (*Stamps, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file.Name(), err)
	}
	return &Stamps{mapped: mapped, places: unsafe.Slice((*int64)(unsafe.Pointer(&mapped[0])), len(mapped)/8)}, nil
}

// Now is the time as stamps have it, in nanoseconds of the machine's monotonic
// clock.
func Now() int64 {
	var now unix.Timespec
	// It fails only for a clock that does not exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano()
}

// Mark writes a time at a place, unless that has one. It returns whether it
// did; a place out of range is none.
func (s *Stamps) Mark(place int, at int64) bool {
	return place >= 0 && place < len(s.places) && atomic.CompareAndSwapInt64(&s.places[place], 0, at)
}

// At returns the time at a place, or 0.
func (s *Stamps) At(place int) int64 { return atomic.LoadInt64(&s.places[place]) }

// Len is how many places there are.
func (s *Stamps) Len() int { return len(s.places) }

// Wait waits until a place has its time. It looks every 2 ms, so that looking does not
// disturb what is measured; the time itself is exact.
func (s *Stamps) Wait(place int, patience time.Duration) (int64, bool) {
	deadline := time.Now().Add(patience)
	for {
		if at := s.At(place); at != 0 {
			return at, true
		}
		if time.Now().After(deadline) {
			return 0, false
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Close unmaps the file. Nothing may use the stamps any more.
func (s *Stamps) Close() error { return unix.Munmap(s.mapped) }
