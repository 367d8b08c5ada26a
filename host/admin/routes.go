package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/plugin/protocol"
)

// answer is a handler that returns its status and body, or an error. The
// status is 200 when it is 0.
type answer func(r *http.Request) (status int, body any, err error)

// methods are the handlers of one path by method.
type methods map[string]answer

// handler is the whole endpoint: /health for everybody, the rest for who may.
func (s *Server) handler() http.Handler {
	public := http.NewServeMux()
	s.route(public, "/health", methods{http.MethodGet: s.health})
	s.route(public, "/health/live", methods{http.MethodGet: s.check(s.opts.Controller.Live)})
	s.route(public, "/health/ready", methods{http.MethodGet: s.check(s.opts.Controller.Ready)})

	private := http.NewServeMux()
	s.route(private, "/status", methods{http.MethodGet: s.status})
	s.route(private, "/namespaces", methods{http.MethodGet: s.namespaces})
	s.route(private, "/namespaces/{name}/pause", methods{http.MethodPost: s.setPaused(true)})
	s.route(private, "/namespaces/{name}/resume", methods{http.MethodPost: s.setPaused(false)})
	s.route(private, "/plugins", methods{http.MethodGet: s.plugins})
	s.route(private, "/plugins/{name}/reset", methods{http.MethodPost: s.resetPlugin})
	s.route(private, "/plugins/{name}/reload", methods{http.MethodPost: s.reloadPlugin})
	s.route(private, "/plugins/{name}/attach", methods{http.MethodPost: s.attachPlugin})
	s.route(private, "/mode", methods{http.MethodGet: s.mode, http.MethodPut: s.setMode})
	s.route(private, "/reload", methods{http.MethodPost: s.reload})
	private.Handle("/metrics", s.metrics())
	private.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.writeError(w, http.StatusNotFound, fmt.Sprintf("no such path %s", r.URL.Path))
	})

	public.Handle("/", s.authorize(private))
	return s.recover(s.limit(public))
}

func (s *Server) route(mux *http.ServeMux, path string, byMethod methods) {
	allowed := make([]string, 0, len(byMethod)+1)
	for method := range byMethod {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle, ok := byMethod[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s %s: use %s", r.Method, r.URL.Path, strings.Join(allowed, " or ")))
			return
		}
		status, body, err := handle(r)
		if err != nil {
			s.writeFailure(w, err)
			return
		}
		s.writeJSON(w, status, body)
	})
}

func (s *Server) health(r *http.Request) (int, any, error) {
	summary := Summary{
		Health: s.opts.Controller.Status(r.Context()).Health,
		Live:   len(s.opts.Controller.Live(r.Context())) == 0,
		Ready:  len(s.opts.Controller.Ready(r.Context())) == 0,
	}
	if summary.Status == HealthCritical {
		return http.StatusServiceUnavailable, summary, nil
	}
	return http.StatusOK, summary, nil
}

func (s *Server) check(reasons func(ctx context.Context) []string) answer {
	return func(r *http.Request) (int, any, error) {
		if found := reasons(r.Context()); len(found) > 0 {
			return http.StatusServiceUnavailable, Check{Reasons: found}, nil
		}
		return http.StatusOK, Check{OK: true}, nil
	}
}

func (s *Server) status(r *http.Request) (int, any, error) {
	status := s.opts.Controller.Status(r.Context())
	status.Namespaces = list(status.Namespaces)
	status.Plugins = list(status.Plugins)
	status.Buffers = list(status.Buffers)
	return http.StatusOK, status, nil
}

func (s *Server) namespaces(r *http.Request) (int, any, error) {
	return http.StatusOK, list(s.opts.Controller.Status(r.Context()).Namespaces), nil
}

func (s *Server) plugins(r *http.Request) (int, any, error) {
	return http.StatusOK, list(s.opts.Controller.Status(r.Context()).Plugins), nil
}

func (s *Server) resetPlugin(r *http.Request) (int, any, error) {
	name := r.PathValue("name")
	if err := s.opts.Controller.ResetPlugin(r.Context(), name); err != nil {
		return 0, nil, err
	}
	s.opts.Logger.Info("plugin reset by an operator", "plugin", name)
	for _, plugin := range s.opts.Controller.Status(r.Context()).Plugins {
		if plugin.Name == name {
			return http.StatusOK, plugin, nil
		}
	}
	return 0, nil, fmt.Errorf("plugin %q: %w", name, ErrNotFound)
}

func (s *Server) reloadPlugin(r *http.Request) (int, any, error) {
	name := r.PathValue("name")
	s.opts.Logger.Info("plugin is reloaded by an operator", "plugin", name)
	swap, err := s.opts.Controller.ReloadPlugin(r.Context(), name)
	return http.StatusOK, swap, err
}

func (s *Server) attachPlugin(r *http.Request) (int, any, error) {
	var to protocol.Attachment
	if err := json.NewDecoder(r.Body).Decode(&to); err != nil {
		return 0, nil, &badRequestError{fmt.Errorf("read the attachment: %w", err)}
	}
	if err := to.Check(); err != nil {
		return 0, nil, &badRequestError{err}
	}
	name := r.PathValue("name")
	s.opts.Logger.Info("a process attaches as a plugin", "plugin", name, "pid", to.PID)
	swap, err := s.opts.Controller.AttachPlugin(r.Context(), name, to)
	return http.StatusOK, swap, err
}

func (s *Server) setPaused(paused bool) answer {
	return func(r *http.Request) (int, any, error) {
		name := r.PathValue("name")
		if err := s.opts.Controller.SetPaused(r.Context(), name, paused); err != nil {
			return 0, nil, err
		}
		s.opts.Logger.Info("namespace switched by an operator", "namespace", name, "paused", paused)
		for _, ns := range s.opts.Controller.Status(r.Context()).Namespaces {
			if ns.Name == name {
				return http.StatusOK, ns, nil
			}
		}
		return 0, nil, fmt.Errorf("namespace %q: %w", name, ErrNotFound)
	}
}

func (s *Server) mode(r *http.Request) (int, any, error) {
	status := s.opts.Controller.Status(r.Context())
	return http.StatusOK, ModeState{Mode: status.Mode, Override: status.ModeOverride}, nil
}

func (s *Server) setMode(r *http.Request) (int, any, error) {
	var wanted struct {
		Mode *eventsystem.Mode `json:"mode"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return 0, nil, &badRequestError{fmt.Errorf(`read the body, which is like {"mode": "Hybrid"}: %w`, err)}
	}
	if wanted.Mode == nil {
		return 0, nil, &badRequestError{errors.New(`the body names no mode: send {"mode": "PollingOnly"}, "Hybrid" or "EventDrivenOnly"`)}
	}
	if err := s.opts.Controller.SetMode(r.Context(), *wanted.Mode); err != nil {
		return 0, nil, err
	}
	s.opts.Logger.Info("mode switched by an operator", "mode", wanted.Mode.String())
	return s.mode(r)
}

func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
		// One collector's fault must not hide the others' numbers.
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            s.opts.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
		MaxRequestsInFlight: maxScrapes,
		Timeout:             readTimeout,
	})
}

// list makes an empty slice of nil, so that JSON shows [].
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
