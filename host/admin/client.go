package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stephost/stephost/eventsystem"
)

// maxAnswerBytes bounds what a client reads of an answer.
const maxAnswerBytes = 16 << 20

// UnreachableError means that nothing answers at the address.
type UnreachableError struct {
	Addr string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no host answers at %s: is `stephost run` running? set --admin or STEPHOST_ADMIN (%s)", e.Addr, rootCause(e.Err))
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// rootCause leaves out what url.Error and net.OpError repeat of the address.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// APIError is a refusal by the host.
type APIError struct {
	// Code is the HTTP status.
	Code    int
	Message string
	// Diagnostics say what is wrong with the host's configuration file, as people
	// read them, when that is why.
	Diagnostics string
}

func (e *APIError) Error() string {
	if e.Code == http.StatusUnauthorized {
		return "the host wants its token: set STEPHOST_ADMIN_TOKEN to its host.admin.token"
	}
	return e.Message
}

// Client asks a host. It is safe for concurrent use.
type Client struct {
	base  string
	addr  string
	token string
	http  *http.Client
}

// NewClient takes host:port, :port or an http(s) URL; an address that stands
// for all interfaces means this machine.
func NewClient(addr, token string) (*Client, error) {
	base := addr
	if !strings.Contains(addr, "://") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("admin address %q is not host:port: %w", addr, err)
		}
		switch host {
		case "", "0.0.0.0":
			host = "127.0.0.1"
		case "::":
			host = "::1"
		}
		addr = net.JoinHostPort(host, port)
		base = "http://" + addr
	}
	parsed, err := url.Parse(base)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return nil, fmt.Errorf("admin address %q is neither host:port nor an http(s) URL", addr)
	}
	return &Client{
		base:  strings.TrimSuffix(base, "/"),
		addr:  addr,
		token: token,
		http: &http.Client{
			Timeout: writeTimeout,
			Transport: &http.Transport{
				Proxy:             http.ProxyFromEnvironment,
				DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				DisableKeepAlives: true,
			},
		},
	}, nil
}

// Status asks for everything.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/status", nil)
}

// Namespaces lists the namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]Namespace, error) {
	return ask[[]Namespace](ctx, c, http.MethodGet, "/namespaces", nil)
}

// Plugins lists the plugins.
func (c *Client) Plugins(ctx context.Context) ([]Plugin, error) {
	return ask[[]Plugin](ctx, c, http.MethodGet, "/plugins", nil)
}

// ResetPlugin closes a plugin's breaker, forgets its back-off and starts at
// once what waits.
func (c *Client) ResetPlugin(ctx context.Context, name string) (Plugin, error) {
	return ask[Plugin](ctx, c, http.MethodPost, "/plugins/"+url.PathEscape(name)+"/reset", nil)
}

// Reload makes the host read its configuration file again and waits until what
// has changed is in force.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	return ask[Reload](ctx, c, http.MethodPost, "/reload", nil)
}

// Mode asks for the deployment mode.
func (c *Client) Mode(ctx context.Context) (ModeState, error) {
	return ask[ModeState](ctx, c, http.MethodGet, "/mode", nil)
}

// SetMode switches the deployment mode and waits until that is done.
func (c *Client) SetMode(ctx context.Context, mode eventsystem.Mode) (ModeState, error) {
	return ask[ModeState](ctx, c, http.MethodPut, "/mode", map[string]string{"mode": mode.String()})
}

// SetPaused stops a namespace from claiming, or lets it claim again.
func (c *Client) SetPaused(ctx context.Context, namespace string, paused bool) (Namespace, error) {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	return ask[Namespace](ctx, c, http.MethodPost, "/namespaces/"+url.PathEscape(namespace)+"/"+verb, nil)
}

// ReloadPlugin starts a plugin's program anew and waits until the new processes
// serve, or are known not to.
func (c *Client) ReloadPlugin(ctx context.Context, name string) (Swap, error) {
	return ask[Swap](ctx, c, http.MethodPost, "/plugins/"+url.PathEscape(name)+"/reload", nil)
}

func ask[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var result T
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return result, fmt.Errorf("encode the request: %w", err)
		}
		payload = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return result, fmt.Errorf("ask %s: %w", c.addr, err)
	}
	if payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return result, fmt.Errorf("ask %s: %w", c.addr, ctx.Err())
		}
		return result, &UnreachableError{Addr: c.addr, Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	return decode[T](c.addr, response)
}

func decode[T any](addr string, response *http.Response) (T, error) {
	var result T
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return result, fmt.Errorf("read the answer of %s: %w", addr, err)
	}
	if response.StatusCode != http.StatusOK {
		var refusal errorBody
		if json.Unmarshal(data, &refusal) != nil || refusal.Error == "" {
			return result, fmt.Errorf("what answers at %s is not a stephost host (HTTP %s)", addr, response.Status)
		}
		return result, &APIError{Code: response.StatusCode, Message: refusal.Error, Diagnostics: refusal.Diagnostics}
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return result, fmt.Errorf("what answers at %s is not a stephost host: %w", addr, err)
	}
	return result, nil
}
