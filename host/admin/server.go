package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Limits of a request. A mode switch is the slowest: it waits until the new
// source of work is proven.
const (
	readTimeout    = 10 * time.Second
	requestTimeout = 60 * time.Second
	writeTimeout   = requestTimeout + 5*time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	maxScrapes     = 4
)

// Options are what a Server needs. Controller, Gatherer and Logger are
// required.
type Options struct {
	// Listen is host:port; port 0 chooses one.
	Listen string
	// Token is the bearer token; required unless Listen is loopback.
	Token      string
	Controller Controller
	Gatherer   prometheus.Gatherer
	Logger     hclog.Logger
}

// Server is the admin endpoint of one host. Start and Shutdown are called once
// each, Shutdown also after a failed Start.
type Server struct {
	opts      Options
	tokenHash [sha256.Size]byte
	http      *http.Server

	bound   atomic.Pointer[string] // host:port
	serving sync.WaitGroup
}

// New checks the options. It returns an InsecureListenError when the address
// is not loopback and there is no token.
func New(opts Options) (*Server, error) {
	if err := checkListen(opts.Listen, opts.Token != ""); err != nil {
		return nil, err
	}
	s := &Server{opts: opts, tokenHash: sha256.Sum256([]byte(opts.Token))}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          opts.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// Start binds the address, so that an error about it is this call's, and
// serves in the background until Shutdown.
func (s *Server) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Listen)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen for admin requests on %s: %w: is another host running here? set host.admin.listen", s.opts.Listen, err)
		}
		return fmt.Errorf("listen for admin requests on %s: %w", s.opts.Listen, err)
	}
	// "localhost" is whatever the machine's resolver makes of it.
	addr, ok := listener.Addr().(*net.TCPAddr)
	if s.opts.Token == "" && (!ok || !addr.IP.IsLoopback()) {
		_ = listener.Close()
		return &InsecureListenError{Listen: listener.Addr().String()}
	}
	text := listener.Addr().String()
	s.bound.Store(&text)
	s.serving.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("admin endpoint stopped", "error", err)
		}
	})
	return nil
}

// Addr is the bound address as host:port, or "" before Start. It may be called
// at any time.
func (s *Server) Addr() string {
	if text := s.bound.Load(); text != nil {
		return *text
	}
	return ""
}

// Shutdown lets running requests finish until ctx ends, cuts off the rest and
// returns once nothing is served any more.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("shut down the admin endpoint: %w", err)
		err = errors.Join(err, s.http.Close())
	}
	s.serving.Wait()
	return err
}
