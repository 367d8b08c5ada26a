package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// badRequestError is the client's fault. HTTP 400.
type badRequestError struct{ err error }

func (e *badRequestError) Error() string { return e.err.Error() }

func (e *badRequestError) Unwrap() error { return e.err }

func statusOf(err error) int {
	var bad *badRequestError
	var tooLarge *http.MaxBytesError
	var invalid *InvalidConfigError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &bad):
		return http.StatusBadRequest
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, ErrConflict):
		return http.StatusConflict
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

type errorBody struct {
	Error string `json:"error"`
	// Diagnostics say what is wrong with a configuration.
	Diagnostics string `json:"diagnostics,omitempty"`
}

// writeFailure answers with what went wrong.
func (s *Server) writeFailure(w http.ResponseWriter, err error) {
	body := errorBody{Error: err.Error()}
	var invalid *InvalidConfigError
	if errors.As(err, &invalid) {
		body.Diagnostics = invalid.Diagnostics
	}
	s.writeJSON(w, statusOf(err), body)
}

func (s *Server) writeError(w http.ResponseWriter, status int, message string) {
	s.writeJSON(w, status, errorBody{Error: message})
}

// writeJSON encodes before it writes, so that a body that cannot be encoded
// does not become half an answer with status 200.
func (s *Server) writeJSON(w http.ResponseWriter, status int, body any) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(body); err != nil {
		s.opts.Logger.Error("admin answer cannot be encoded", "error", err)
		status = http.StatusInternalServerError
		encoded.Reset()
		encoded.WriteString(`{"error": "the answer cannot be encoded; the host's log says why"}` + "\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(encoded.Bytes())
}
