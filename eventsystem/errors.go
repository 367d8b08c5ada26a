package eventsystem

import "fmt"

// InvalidTransitionError says why a system cannot change to a mode. The mode
// that was in force stays in force.
type InvalidTransitionError struct {
	From, To Mode
	Reason   string
}

func (e *InvalidTransitionError) Error() string {
	return fmt.Sprintf("cannot switch from %v to %v: %s", e.From, e.To, e.Reason)
}

// ConfigurationError says that a system cannot be built as configured.
type ConfigurationError struct {
	// Key is the configuration key, in the words of the file.
	Key    string
	Reason string
}

func (e *ConfigurationError) Error() string { return fmt.Sprintf("%s: %s", e.Key, e.Reason) }

// HealthCheckError is a Health that is not Healthy, as an error.
type HealthCheckError struct{ Health Health }

func (e *HealthCheckError) Error() string {
	return fmt.Sprintf("%v: %s", e.Health.Status, e.Health.Summary())
}
