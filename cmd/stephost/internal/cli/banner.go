package cli

import (
	"fmt"
	"os"
	"strings"
)

// banner tells how to use a running dev, in commands that can be pasted.
func (d *dev) banner(adminAddr string) string {
	self := os.Args[0]
	if d.configGiven && d.configPath != "config.hcl" {
		self += " --config " + shellQuote(d.configPath)
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(&b, "  %-10s "+format+"\n", append([]any{name}, args...)...)
	}
	b.WriteString("\nstephost serves " + d.configPath + "\n")
	line("database", "%s", d.database)
	if adminAddr != "" {
		line("admin", "http://%s/status (health, metrics: /health, /metrics)", adminAddr)
		line("status", "%s status", self)
	}
	if queue, body := d.example(); queue != "" {
		line("send one", "%s queue send %s %s", self, queue, shellQuote(body))
	}
	line("stop", "Ctrl-C drains and stops everything")
	return b.String()
}

// example is a message for the first namespace, or a sample order where the
// configuration has a place for it.
func (d *dev) example() (queue, body string) {
	if queue, ok := d.sampleQueue(); ok {
		return queue, `{"step": "validate", "order_id": "A-1", "amount_cents": 1999}`
	}
	if len(d.cfg.Namespaces) == 0 {
		return "", ""
	}
	ns := d.cfg.Namespaces[0]
	return ns.Queue, fmt.Sprintf(`{%q: "..."}`, ns.StepKey)
}

// shellQuote quotes where a shell would not take the text as it is.
func shellQuote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
