package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what stands in a secret's place.
const redacted = "(redacted)"

// Secret is text that must not be shown: it prints as "(redacted)" in every
// format, also in JSON. Reveal returns it.
//
// Two doors stay open because fmt does not ask the value: the verb %p (go vet
// rejects it), and an unexported field of a struct that is printed whole. Keep
// secrets in exported fields, or do not print the struct.
type Secret string

var (
	_ fmt.Formatter  = Secret("")
	_ fmt.GoStringer = Secret("")
	_ json.Marshaler = Secret("")
	_ slog.LogValuer = Secret("")
)

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String returns "(redacted)".
func (Secret) String() string { return redacted }

// GoString returns "(redacted)".
func (Secret) GoString() string { return redacted }

// Format writes "(redacted)" for every verb. Without it %x and %d would reach
// the text behind the other methods' backs.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes "(redacted)".
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText writes "(redacted)".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "(redacted)".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
