package admin

import (
	"net/http"
)

// Reload tells what a host has taken over of its changed configuration file.
type Reload struct {
	// Changed is false when the file says what the host does already.
	Changed    bool    `json:"changed"`
	Plugins    Members `json:"plugins"`
	Namespaces Members `json:"namespaces"`
	// Settings are in force now; Restart takes effect at the next start.
	Settings []Change `json:"settings"`
	Restart  []Change `json:"restart"`
	// Warnings are for people: what was not taken over, and why.
	Warnings []string `json:"warnings"`
	// Took is the time until everything was in force. What was removed may still
	// be finishing.
	Took Seconds `json:"took_seconds"`
}

// Members are the blocks of one type that came, went or changed, by name.
type Members struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed []Member `json:"changed"`
}

// Member is a block that has changed.
type Member struct {
	Name string   `json:"name"`
	Keys []Change `json:"keys"`
}

// Change is one key with another value.
type Change struct {
	// Key has the blocks around it, like "host.admin.listen".
	Key string `json:"key"`
	// Place is where it is written, like "config.hcl:12"; absent where it is not.
	Place string `json:"place,omitempty"`
	// Values are like "1 → 5"; absent where they must not be shown.
	Values string `json:"values,omitempty"`
}

// InvalidConfigError is a configuration that the host does not take over. It
// has changed nothing.
type InvalidConfigError struct {
	// Reason is one line.
	Reason string
	// Diagnostics say what is wrong, with the lines of the file, as people read
	// them.
	Diagnostics string
}

func (e *InvalidConfigError) Error() string { return e.Reason }

func (s *Server) reload(r *http.Request) (int, any, error) {
	report, err := s.opts.Controller.Reload(r.Context())
	if err != nil {
		return 0, nil, err
	}
	report.Settings, report.Restart, report.Warnings = list(report.Settings), list(report.Restart), list(report.Warnings)
	for _, m := range []*Members{&report.Plugins, &report.Namespaces} {
		m.Added, m.Removed, m.Changed = list(m.Added), list(m.Removed), list(m.Changed)
	}
	return http.StatusOK, report, nil
}
