package pgmq

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
)

// OnComplete says what becomes of a completed message.
type OnComplete string

// The ways to end a completed message.
const (
	// Archive moves it to the queue's archive table.
	Archive OnComplete = "archive"
	// Delete drops it.
	Delete OnComplete = "delete"
)

// Notifications names a family of notification channels.
type Notifications string

// The families.
const (
	// NotifyAuto listens to pgmq's channels, and to tasker's where tasker's send
	// function is installed.
	NotifyAuto Notifications = "auto"
	// NotifyPGMQ is pgmq's own: pgmq.q_<name>.INSERT, without a payload.
	NotifyPGMQ Notifications = "pgmq"
	// NotifyTasker is tasker-core's: pgmq_message_ready and
	// pgmq_message_ready.<namespace>, with a JSON payload.
	NotifyTasker Notifications = "tasker"
)

// Options configure a Broker.
type Options struct {
	// DSN is a PostgreSQL URL or keyword/value string. It may carry pgx's
	// default_query_exec_mode, and libpq's keepalives_* and tcp_user_timeout.
	// Without the former, statements are prepared unless a pooler is in between.
	DSN string
	// ListenDSN is for the LISTEN connection; empty means DSN. It must lead to
	// the server itself and not to a transaction pooler.
	ListenDSN string
	// MaxConnections bounds all connections together except those of LISTEN and
	// of a Pass, one each. The default is 8, the least 3.
	MaxConnections int
	// OnComplete defaults to Archive.
	OnComplete OnComplete
	// Notifications defaults to NotifyAuto.
	Notifications Notifications
	// NamespaceOf gives a queue's namespace as tasker's channels name it. The
	// default strips a prefix "worker_" and a suffix "_queue".
	NamespaceOf func(queue string) string
	// ConnectTimeout bounds one connection attempt; the default is 10 s.
	ConnectTimeout time.Duration
	// InlineBodyLimit is the largest body in bytes that a claim carries; larger
	// ones are deferred. The default is 256 KiB.
	InlineBodyLimit int
	// LongWalk is how long a claim walks over dead index entries, by the server's
	// clock, before the next ones keep clear of them. The default is 5 ms.
	LongWalk time.Duration
	// Logger defaults to none.
	Logger hclog.Logger

	tracer pgx.QueryTracer // sees every statement, in tests
}

const (
	defaultMaxConnections  = 8
	minMaxConnections      = 3
	defaultConnectTimeout  = 10 * time.Second
	defaultInlineBodyLimit = 256 << 10
	defaultLongWalk        = 5 * time.Millisecond
)

func (o Options) withDefaults() (Options, error) {
	if o.DSN == "" {
		return o, errors.New("no database given: set the DSN")
	}
	if o.ListenDSN == "" {
		o.ListenDSN = o.DSN
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = defaultMaxConnections
	}
	if o.MaxConnections < minMaxConnections {
		return o, fmt.Errorf("max_connections is %d: claims, settlements and heartbeats need %d at least", o.MaxConnections, minMaxConnections)
	}
	switch o.OnComplete {
	case "":
		o.OnComplete = Archive
	case Archive, Delete:
	default:
		return o, fmt.Errorf("on_complete is %q: it must be %q or %q", o.OnComplete, Archive, Delete)
	}
	switch o.Notifications {
	case "":
		o.Notifications = NotifyAuto
	case NotifyAuto, NotifyPGMQ, NotifyTasker:
	default:
		return o, fmt.Errorf("notifications is %q: it must be %q, %q or %q", o.Notifications, NotifyAuto, NotifyPGMQ, NotifyTasker)
	}
	if o.NamespaceOf == nil {
		o.NamespaceOf = namespaceOf
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.InlineBodyLimit <= 0 {
		o.InlineBodyLimit = defaultInlineBodyLimit
	}
	if o.LongWalk <= 0 {
		o.LongWalk = defaultLongWalk
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o, nil
}

func namespaceOf(queue string) string {
	return strings.TrimSuffix(strings.TrimPrefix(queue, "worker_"), "_queue")
}
