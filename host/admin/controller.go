package admin

import (
	"context"
	"errors"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/plugin/protocol"
)

// Controller is the host as this endpoint sees it. All methods are called
// concurrently and must return when ctx ends.
type Controller interface {
	// Status is a snapshot of the whole host.
	Status(ctx context.Context) Status
	// Live returns one line for each loop that does not progress, with its
	// name; nothing when all do. It must not wait for what may be stuck.
	Live(ctx context.Context) []string
	// Ready returns one line for each reason why the host cannot work steps:
	// the database, the listener where the mode needs it, no ready plugin, a
	// drain.
	Ready(ctx context.Context) []string
	// SetMode switches the deployment mode and returns once the switch is done
	// or has failed and the old mode is in force. An illegal transition is an
	// ErrConflict.
	SetMode(ctx context.Context, mode eventsystem.Mode) error
	// SetPaused stops a namespace from claiming, or lets it claim again. It is
	// an ErrNotFound when there is no such namespace.
	SetPaused(ctx context.Context, namespace string, paused bool) error
	// ResetPlugin closes a plugin's breaker, forgets its back-off and starts at
	// once what waits. It is an ErrNotFound when there is no such plugin, and an
	// ErrConflict when the plugin is being stopped.
	ResetPlugin(ctx context.Context, name string) error
	// ReloadPlugin starts a plugin's program anew beside the old processes,
	// which finish their steps and end once the new ones serve. It returns when
	// they do, or with the reason why the old ones serve on. It is an ErrNotFound
	// when there is no such plugin and an ErrConflict while the plugin is being
	// changed already.
	ReloadPlugin(ctx context.Context, name string) (Swap, error)
	// Reload reads the configuration file again and takes over what has changed,
	// and returns when that is in force. An *InvalidConfigError says what is wrong
	// with the file; then nothing has changed. It is an ErrConflict when the host
	// has no file, or cannot reload in its state.
	Reload(ctx context.Context) (Reload, error)
	// AttachPlugin puts a process that somebody else has started, under a
	// debugger say, in the place of a plugin's own, and returns when it serves.
	// It is an ErrForbidden where the host does not allow that, an ErrNotFound
	// when there is no such plugin and an ErrConflict while it is being changed.
	AttachPlugin(ctx context.Context, name string, to protocol.Attachment) (Swap, error)
}

// Errors that a Controller wraps to choose how a request fails. Any other
// error is a failure of the host.
var (
	// ErrNotFound: what the request names does not exist. HTTP 404.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the host cannot do that in its state or configuration. HTTP
	// 409.
	ErrConflict = errors.New("not possible now")
	// ErrForbidden: this host does not do that. HTTP 403.
	ErrForbidden = errors.New("not allowed")
)
