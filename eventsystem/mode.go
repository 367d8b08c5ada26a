package eventsystem

import "fmt"

// Mode says which sources of work run. The names are the seed's.
type Mode int

// The modes.
const (
	// Hybrid runs the listener and the fallback poller. It is the default.
	Hybrid Mode = iota
	// PollingOnly runs the fallback poller alone.
	PollingOnly
	// EventDrivenOnly runs the listener alone, with a slow safety sweep.
	EventDrivenOnly
)

// Modes lists all modes in the order of the seed.
func Modes() []Mode { return []Mode{PollingOnly, Hybrid, EventDrivenOnly} }

// String returns the seed's name of the mode.
func (m Mode) String() string {
	switch m {
	case PollingOnly:
		return "PollingOnly"
	case EventDrivenOnly:
		return "EventDrivenOnly"
	case Hybrid:
		return "Hybrid"
	default:
		return fmt.Sprintf("Mode(%d)", int(m))
	}
}

// HasEventDriven reports whether the mode runs the listener.
func (m Mode) HasEventDriven() bool { return m == Hybrid || m == EventDrivenOnly }

// HasPolling reports whether the mode runs the fallback poller.
func (m Mode) HasPolling() bool { return m == Hybrid || m == PollingOnly }

// ParseMode reads a mode's name, exactly as String writes it.
func ParseMode(name string) (Mode, error) {
	for _, m := range Modes() {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown deployment mode %q: use PollingOnly, Hybrid or EventDrivenOnly", name)
}

// MarshalText writes the name.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the name.
func (m *Mode) UnmarshalText(text []byte) error {
	parsed, err := ParseMode(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}
