package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
)

// authorize lets requests with the token through. Without a token the endpoint
// is on loopback, where a web page in the user's browser can reach it too: such
// requests come from another origin, or under a name that was rebound to
// loopback, and are refused.
func (s *Server) authorize(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Token == "" {
			if err := crossOrigin.Check(r); err != nil {
				s.writeError(w, http.StatusForbidden, err.Error())
				return
			}
			if !isLocalName(r.Host) {
				s.writeError(w, http.StatusForbidden, fmt.Sprintf("host name %q is not this machine's loopback address: set host.admin.token to serve other names", r.Host))
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		hash := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(hash[:], s.tokenHash[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="stephost"`)
			s.writeError(w, http.StatusUnauthorized, "a valid bearer token is required: send host.admin.token in the Authorization header")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limit bounds a request's body and time.
func (s *Server) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r)
	})
}

// recover turns a panic into a logged 500 with no detail for the client.
func (s *Server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			s.opts.Logger.Error("admin request panicked", "method", r.Method, "path", r.URL.Path,
				"panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			s.writeError(w, http.StatusInternalServerError, "internal error; the host's log says more")
		}()
		next.ServeHTTP(w, r)
	})
}
