package sdk

import (
	"strings"
	"unicode/utf8"
)

// Bounds on texts that end up in results and are stored with messages.
const (
	maxNameBytes    = 1 << 10
	maxMessageBytes = 16 << 10
	maxStackBytes   = 32 << 10
)

// cleanText makes a text fit to travel: Protocol Buffers refuse invalid UTF-8,
// which would end the stream for every step on it, and PostgreSQL refuses NUL.
// It is cut at limit bytes.
func cleanText(s string, limit int) string {
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}
