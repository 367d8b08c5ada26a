package sdk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

const (
	// A plugin that finds no host looks again after these delays.
	firstAttachDelay = 250 * time.Millisecond
	maxAttachDelay   = 5 * time.Second
	// attachTimeout is for the host's answer. It asks the plugin to describe and
	// configure itself meanwhile.
	attachTimeout = 90 * time.Second
)

// errHostLeft is the end of an attachment by the host.
var errHostLeft = errors.New("the host has let go of this process; its log says why")

// refusedError is a host that does not take the plugin, however often it is
// asked.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// attacher is a plugin process that somebody started in a debugger, say. It
// offers itself to a running host, again and again.
type attacher struct {
	program program
	log     hclog.Logger
	// name is the plugin's in the host's configuration, admin the host's
	// endpoint.
	name, admin, token string
	http               *http.Client
}

// runAttached is the life of such a process, until it is interrupted. It ends
// the process.
func runAttached(p program, target string) {
	a, err := newAttacher(p, target, ownLogs(os.Stderr, false))
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = a.run(ctx)
		stop()
	}
	if err != nil {
		a.log.Error("cannot attach", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// newAttacher reads NAME or NAME@HOST:PORT.
func newAttacher(p program, target string, log hclog.Logger) (*attacher, error) {
	name, admin, given := strings.Cut(target, "@")
	a := &attacher{
		program: p, log: log, name: name, token: os.Getenv("STEPHOST_ADMIN_TOKEN"),
		admin: admin,
		http:  &http.Client{Timeout: attachTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if !given {
		a.admin = cmp.Or(os.Getenv("STEPHOST_ADMIN"), protocol.DefaultAdmin)
	}
	if _, _, err := net.SplitHostPort(a.admin); err != nil || name == "" {
		return a, fmt.Errorf("%s=%q is neither NAME nor NAME@HOST:PORT, with the plugin's name in the host's configuration", protocol.AttachKey, target)
	}
	return a, nil
}

// run attaches until ctx ends, which is no error, or a host refuses.
func (a *attacher) run(ctx context.Context) error {
	delay, said := firstAttachDelay, ""
	for {
		attached, err := a.once(ctx)
		var refused *refusedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			return err
		case attached:
			delay, said = firstAttachDelay, ""
		}
		// It is tried often, and said once.
		if err.Error() != said {
			said = err.Error()
			a.log.Info("waiting for a host", "plugin", a.name, "admin", a.admin, "because", said)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
		delay = min(2*delay, maxAttachDelay)
	}
}

// once serves one host from its first call to its last. A host configures a
// plugin once, so each has a service of its own.
func (a *attacher) once(ctx context.Context) (attached bool, err error) {
	dir, err := os.MkdirTemp("", "stephost-attach")
	if err != nil {
		return false, &refusedError{fmt.Sprintf("make a directory for the socket: %v", err)}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(dir, "plugin.sock"))
	if err != nil {
		return false, &refusedError{fmt.Sprintf("listen: %v", err)}
	}
	svc := newService(a.program, a.log)
	svc.untimed = true
	host := newVisit()
	server := grpc.NewServer(append(protocol.ServerOptions(), grpc.StatsHandler(host))...)
	pluginv1.RegisterPluginServiceServer(server, svc)
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() {
		server.Stop()
		<-served
		if err := svc.close(); err != nil {
			a.log.Error("close plugin", "error", err)
		}
	}()
	if err := a.register(ctx, listener.Addr()); err != nil {
		return false, err
	}
	// The host keeps its connection. Debuggers end a program without a chance to
	// tidy up.
	_ = os.RemoveAll(dir)
	a.log.Info("attached; health deadlines and step timeouts are suspended", "plugin", a.name, "admin", a.admin, "pid", os.Getpid())
	select {
	case <-host.left:
	case <-ctx.Done():
	}
	return true, errHostLeft
}

// register tells the host where the plugin serves. The host answers when it
// has configured it.
func (a *attacher) register(ctx context.Context, at net.Addr) error {
	body, err := json.Marshal(protocol.Attachment{Network: at.Network(), Address: at.String(), PID: os.Getpid(), Protocol: protocol.Version})
	if err != nil {
		return err
	}
	target := "http://" + a.admin + "/plugins/" + url.PathEscape(a.name) + "/attach"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return &refusedError{err.Error()}
	}
	request.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return fmt.Errorf("no host answers at %s: start `stephost dev`, or set %s=%s@HOST:PORT to its host.admin.listen", a.admin, protocol.AttachKey, a.name)
	}
	defer func() { _ = response.Body.Close() }()
	return answered(response)
}

// answered tells what the host said.
func answered(response *http.Response) error {
	var refusal struct {
		Error string `json:"error"`
	}
	const maxAnswer = 1 << 20
	_ = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&refusal)
	text := cmp.Or(refusal.Error, "the host answers with HTTP "+response.Status)
	switch response.StatusCode {
	case http.StatusOK, http.StatusGatewayTimeout:
		// The host goes on with what has taken too long for an answer: somebody
		// looks at the setup in the debugger.
		return nil
	case http.StatusUnauthorized:
		return &refusedError{"the host wants its token: set STEPHOST_ADMIN_TOKEN to its host.admin.token"}
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return &refusedError{text}
	default:
		return errors.New(text)
	}
}

// visit notices when the last connection has ended.
type visit struct {
	mu   sync.Mutex
	open int
	left chan struct{}
	once sync.Once
}

var _ stats.Handler = (*visit)(nil)

func newVisit() *visit { return &visit{left: make(chan struct{})} }

func (v *visit) HandleConn(_ context.Context, s stats.ConnStats) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		v.open++
	case *stats.ConnEnd:
		if v.open--; v.open == 0 {
			v.once.Do(func() { close(v.left) })
		}
	}
}

func (v *visit) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (v *visit) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (v *visit) HandleRPC(context.Context, stats.RPCStats)                         {}
