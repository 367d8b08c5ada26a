package pluginlog

import (
	"strings"
	"testing"
)

// BenchmarkClassify has what a line costs the host, in the usual forms.
func BenchmarkClassify(b *testing.B) {
	for name, text := range map[string]string{
		"json":   `{"@level":"info","@message":"charged","@timestamp":"2026-01-02T15:04:05.000000Z","namespace":"orders","message_id":17,"attempt":1,"order":"o-17"}`,
		"logfmt": `time=2026-01-02T15:04:05.000Z level=INFO msg="charged it" namespace=orders message_id=17 attempt=1 order=o-17`,
		"plain":  "2026/01/02 15:04:05 charged order o-17 of namespace orders " + strings.Repeat("x", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			var c classifier
			for b.Loop() {
				c.classify(text)
			}
		})
	}
	b.Run("dropped", func(b *testing.B) {
		var c classifier
		text := strings.Repeat("x", 1000)
		for b.Loop() {
			c.hopeless(text)
		}
	})
}
