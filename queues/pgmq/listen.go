package pgmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/queues"
)

// errClosed is what Receive and Verify say after Close.
var errClosed = errors.New("the subscription is closed")

const (
	closeTimeout = 5 * time.Second
	// How long a pooler's notification may take to come back at first.
	proofTimeout = 5 * time.Second
)

// Subscribe implements queues.Subscriber.
func (b *Broker) Subscribe(ctx context.Context, names []string) (queues.Subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	b.announce.forget()
	f, err := b.announce.current(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", b.explain(err))
	}
	config, err := parseDSN(b.opts.ListenDSN, b.opts, listening)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", connectError(config.ConnConfig, err))
	}
	s := &subscription{conn: conn, proof: "stephost.verify." + strings.ToLower(rand.Text()), notify: b.notify}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.route = func(names []string) *router {
		return newRouter(names, b.opts.Notifications != NotifyTasker, f.tasker, b.opts.NamespaceOf)
	}
	s.router = s.route(names)
	if err := s.listen(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// notify sends a notification from another connection than the one that
// listens.
func (b *Broker) notify(ctx context.Context, channel, payload string) error {
	_, err := b.work.Exec(ctx, `SELECT pg_notify($1::text, $2::text)`, channel, payload)
	return b.explain(err)
}

// subscription is one LISTEN connection.
type subscription struct {
	life  context.Context
	end   context.CancelCauseFunc
	route func(names []string) *router

	mu      sync.Mutex // held while the connection is in use
	conn    *pgx.Conn
	pooled  bool // a pooler stands before the server
	router  *router
	proof   string // a channel that nobody else knows
	notify  func(ctx context.Context, channel, payload string) error
	pending backlog
}

// listen begins to listen, with the proof alone when a pooler stands before the
// server: in transaction mode what is listened to stays behind in a session
// that others use, who would get our notifications.
func (s *subscription) listen(ctx context.Context) error {
	var pid uint32
	if err := s.conn.QueryRow(ctx, `SELECT pg_catalog.pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&pid); err != nil {
		return err
	}
	s.pooled = pid != s.conn.PgConn().PID()
	if !s.pooled {
		return s.command(ctx, "LISTEN", append(s.router.channels(), s.proof))
	}
	if err := s.command(ctx, "LISTEN", []string{s.proof}); err != nil {
		return err
	}
	proving, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	if err := s.prove(proving); err != nil {
		// It reaches the session that has it, unless somebody else uses that now.
		_ = s.command(ctx, "UNLISTEN", []string{s.proof})
		return err
	}
	return s.command(ctx, "LISTEN", s.router.channels())
}

// command listens to channels, or no longer.
func (s *subscription) command(ctx context.Context, verb string, channels []string) error {
	var sql strings.Builder
	for _, channel := range channels {
		sql.WriteString(verb + " " + pgx.Identifier{channel}.Sanitize() + ";\n")
	}
	return s.conn.PgConn().Exec(ctx, sql.String()).Close()
}

// Listen implements queues.Subscription. The server gets the difference, so the
// channels that stay are listened to without a gap.
func (s *subscription) Listen(ctx context.Context, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, stop := s.alive(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	next := s.route(names)
	next.last = s.router.last
	before, after := s.router.channels(), next.channels()
	if err := s.command(ctx, "LISTEN", without(after, before)); err != nil {
		return s.broken(ctx, err)
	}
	s.router = next
	if err := s.command(ctx, "UNLISTEN", without(before, after)); err != nil {
		return s.broken(ctx, err)
	}
	return nil
}

func without(channels, others []string) []string {
	return slices.DeleteFunc(slices.Clone(channels), func(c string) bool { return slices.Contains(others, c) })
}

// Receive implements queues.Subscription.
func (s *subscription) Receive(ctx context.Context) (queues.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, stop := s.alive(ctx)
	defer stop()
	for {
		if event, ok := s.pending.next(); ok {
			return event, nil
		}
		if _, err := s.wait(ctx); err != nil {
			return queues.Event{}, err
		}
	}
}

// Verify implements queues.Subscription.
func (s *subscription) Verify(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, stop := s.alive(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	return s.prove(ctx)
}

// prove sends the notification from another connection, as a producer does. Sent
// from this one it would come back from a pooler too, and from a database that
// is not the one of the queues.
func (s *subscription) prove(ctx context.Context) error {
	token := rand.Text()
	if err := s.notify(ctx, s.proof, token); err != nil {
		return fmt.Errorf("send a notification: %w", err)
	}
	for {
		got, err := s.wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return s.swallowed(err)
		}
		if err != nil {
			return err
		}
		if got.Channel == s.proof && got.Payload == token {
			return nil
		}
	}
}

// swallowed says why a notification did not come back.
func (s *subscription) swallowed(err error) error {
	if s.pooled {
		return fmt.Errorf("a pooler swallows notifications: let listen_dsn lead to the server itself (%w)", err)
	}
	return fmt.Errorf("a notification that was sent by dsn did not come back by listen_dsn: do both lead to the same database? (%w)", err)
}

// wait takes one notification and keeps the events in it.
func (s *subscription) wait(ctx context.Context) (*pgconn.Notification, error) {
	got, err := s.conn.WaitForNotification(ctx)
	if err != nil {
		return nil, s.broken(ctx, err)
	}
	if got.Channel != s.proof {
		for _, event := range s.router.events(got) {
			s.pending.add(event)
		}
	}
	return got, nil
}

// alive is a context that also ends when the subscription is closed.
func (s *subscription) alive(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (s *subscription) broken(ctx context.Context, err error) error {
	if s.life.Err() != nil {
		return errClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the LISTEN connection is gone: %w", err)
}

// Close implements queues.Subscription. It waits for a call that is under way,
// which returns at once.
func (s *subscription) Close() error {
	s.end(errClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.conn.Close(ctx); err != nil {
		return fmt.Errorf("close the LISTEN connection: %w", err)
	}
	return nil
}
