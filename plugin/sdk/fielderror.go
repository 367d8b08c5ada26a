package sdk

import (
	"errors"
	"fmt"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// FieldError says which attribute of the config block an error is about, so
// that the host can point at its line in the user's file. path is written as
// one would in Go: `endpoint`, `retry.backoff`, `server[0].port`,
// `backend["eu"].url`. A setup function may return several, joined with
// errors.Join. It returns nil for a nil error.
func FieldError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &fieldError{path: path, err: err}
}

type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return fmt.Sprintf("%s: %s", e.path, e.err) }
func (e *fieldError) Unwrap() error { return e.err }

// configErrors are the complaints about a config value that does not fit.
type configErrors []*pluginv1.Diagnostic

func (e configErrors) Error() string {
	if len(e) == 1 {
		return e[0].GetDetail()
	}
	return fmt.Sprintf("%s, and %d more", e[0].GetDetail(), len(e)-1)
}

// diagnose turns a setup error into diagnostics, one for each part of a joined
// error.
func diagnose(err error) []*pluginv1.Diagnostic {
	var complaints configErrors
	if errors.As(err, &complaints) {
		return complaints
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*pluginv1.Diagnostic
		for _, e := range joined.Unwrap() {
			all = append(all, diagnose(e)...)
		}
		return all
	}
	var field *fieldError
	if errors.As(err, &field) {
		return []*pluginv1.Diagnostic{{
			Severity: pluginv1.Severity_SEVERITY_ERROR,
			Summary:  "Plugin rejects a value",
			Detail:   cleanText(field.err.Error(), maxMessageBytes),
			Path:     parsePath(field.path),
		}}
	}
	return []*pluginv1.Diagnostic{{
		Severity: pluginv1.Severity_SEVERITY_ERROR,
		Summary:  "Plugin cannot be set up",
		Detail:   cleanText(err.Error(), maxMessageBytes),
	}}
}
