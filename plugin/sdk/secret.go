package sdk

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret shows of itself.
const redacted = "(redacted)"

// Secret is text that must not be shown, such as a password in the plugin's
// config block. It prints as "(redacted)" with every verb of fmt, in JSON, in
// text encodings and in logs, also inside other values. [Secret.Reveal]
// returns the text. The zero Secret is empty.
type Secret struct {
	// text is behind a pointer because fmt prints unexported fields of other
	// people's structs without asking this type; it prints an address then.
	text *string
}

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format writes the redaction for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns the redaction.
func (s Secret) String() string { return redacted }

// MarshalText returns the redaction.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns the redaction as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns the redaction.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
