package pgmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/queues"
)

// errClosed is what Receive and Verify say after Close.
var errClosed = errors.New("the subscription is closed")

const closeTimeout = 5 * time.Second

// Subscribe implements queues.Subscriber.
func (b *Broker) Subscribe(ctx context.Context, names []string) (queues.Subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	b.announce.forget()
	f, err := b.announce.current(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	config, err := parseDSN(b.opts.ListenDSN, b.opts, listening)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", connectError(config.ConnConfig, err))
	}
	s := &subscription{conn: conn, proof: "stephost.verify." + strings.ToLower(rand.Text())}
	s.life, s.end = context.WithCancelCause(context.Background())
	pgmq := b.opts.Notifications != NotifyTasker
	s.router = newRouter(names, pgmq, f.tasker, b.opts.NamespaceOf)
	if err := s.listen(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// subscription is one LISTEN connection.
type subscription struct {
	life context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex // held while the connection is in use
	conn    *pgx.Conn
	router  *router
	proof   string // a channel that nobody else knows
	pending backlog
}

func (s *subscription) listen(ctx context.Context) error {
	var sql strings.Builder
	for _, channel := range append(s.router.channels(), s.proof) {
		sql.WriteString("LISTEN " + pgx.Identifier{channel}.Sanitize() + ";\n")
	}
	return s.conn.PgConn().Exec(ctx, sql.String()).Close()
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
	token := rand.Text()
	if _, err := s.conn.Exec(ctx, `SELECT pg_notify($1::text, $2::text)`, s.proof, token); err != nil {
		return s.broken(ctx, err)
	}
	for {
		got, err := s.wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("a notification sent through the server did not come back: does listen_dsn lead through a transaction pooler? %w", err)
		}
		if err != nil {
			return err
		}
		if got.Channel == s.proof && got.Payload == token {
			return nil
		}
	}
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
