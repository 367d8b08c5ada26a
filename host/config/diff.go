package config

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Diff is what separates the configuration of a running host from another one.
type Diff struct {
	Plugins    Members
	Namespaces Members
	// Live are changed settings of the host that take effect while it runs, and
	// Restart those that wait for its next start.
	Live    []Change
	Restart []Change
}

// Members are the blocks of one type that came, went or changed, by name and
// in the order of the files.
type Members struct {
	Added   []string
	Removed []string
	Changed []Member
}

// Member is a block that has changed.
type Member struct {
	Name string
	Keys []Change
}

// Live tells whether all its changes are.
func (m Member) Live() bool {
	return !slices.ContainsFunc(m.Keys, func(c Change) bool { return !c.Live })
}

// Change is one key with another value.
type Change struct {
	// Path is the key with the blocks around it, like "host.admin.listen" or
	// "plugin.orders.args".
	Path string
	// At is where the new value is written, or the block that lacks it. It is
	// zero where neither is.
	At hcl.Range
	// From and To are the values as Redacted shows them. Both are nil where one
	// of them must not be shown: it is a secret, came from the environment, or
	// belongs to a plugin.
	From, To any
	// Live means that what the key belongs to takes the value while it runs: a
	// host without a new start, a plugin without new processes.
	Live bool
}

// Place is like "config.hcl:12", or empty.
func (c Change) Place() string {
	if c.At.Filename == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", c.At.Filename, c.At.Start.Line)
}

// Values is like "1 → 5", or empty.
func (c Change) Values() string {
	if c.From == nil && c.To == nil {
		return ""
	}
	return valueText(c.From) + " → " + valueText(c.To)
}

func valueText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// Empty tells whether nothing has changed.
func (d Diff) Empty() bool {
	return d.Plugins.empty() && d.Namespaces.empty() && len(d.Live)+len(d.Restart) == 0
}

func (m Members) empty() bool { return len(m.Added)+len(m.Removed)+len(m.Changed) == 0 }
