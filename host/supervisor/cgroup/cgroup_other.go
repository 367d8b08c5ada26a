//go:build !linux

package cgroup

import (
	"errors"
	"os"
)

// Create fails: only Linux has cgroups.
func Create(string, Limits) (*Leaf, error) {
	return nil, errors.New("only Linux has cgroups")
}

// FD is nil.
func (l *Leaf) FD() *os.File { return l.dir }

// OutOfMemory is false.
func (l *Leaf) OutOfMemory() bool { return false }

// Remove does nothing.
func (l *Leaf) Remove() error { return nil }
