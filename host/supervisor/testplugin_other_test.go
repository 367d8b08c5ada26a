//go:build !linux

package supervisor_test

// deathSignal does not exist elsewhere.
const deathSignal int32 = 0
