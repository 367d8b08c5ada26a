package sdk

import (
	"errors"
	"fmt"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// FieldError says which attribute of the config block an error is about, so
// that the host can point at its line in the user's file. path is written as
// one would in Go, with the names of the file: `endpoint`, `retry.backoff`,
// `server[0].port`, `backend["eu"].url`. Blocks in a map or with a label field
// are named by label, the latter by their index in the slice as well. Where the
// path leads to nothing that is written, the host points at the block around
// it. A setup function may return several, joined with errors.Join. It returns
// nil for a nil error.
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

// diagnose turns a setup error into diagnostics: one for each field that it
// names, however deep, and else one for the whole block.
func diagnose(err error) []*pluginv1.Diagnostic {
	var complaints configErrors
	if errors.As(err, &complaints) {
		return complaints
	}
	if found := diagnoseFields(err); len(found) > 0 {
		return found
	}
	return []*pluginv1.Diagnostic{diagnostic("Plugin cannot be set up", err, nil)}
}

// diagnoseFields returns a diagnostic for each field error in the tree. Beside
// field errors, the other members of a joined error get one as well.
func diagnoseFields(err error) []*pluginv1.Diagnostic {
	if field, ok := err.(*fieldError); ok {
		return []*pluginv1.Diagnostic{diagnostic("Plugin rejects a value", field.err, parsePath(field.path))}
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return diagnoseFields(err.Unwrap())
	case interface{ Unwrap() []error }:
		if field := (*fieldError)(nil); !errors.As(err.(error), &field) {
			return nil
		}
		var all []*pluginv1.Diagnostic
		for _, e := range err.Unwrap() {
			all = append(all, diagnose(e)...)
		}
		return all
	}
	return nil
}

func diagnostic(summary string, err error, path []*pluginv1.PathStep) *pluginv1.Diagnostic {
	return &pluginv1.Diagnostic{
		Severity: pluginv1.Severity_SEVERITY_ERROR,
		Summary:  summary,
		Detail:   cleanText(err.Error(), maxMessageBytes),
		Path:     path,
	}
}
