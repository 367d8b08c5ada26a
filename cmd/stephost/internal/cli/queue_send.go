package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

const (
	// maxMessageBytes bounds one line of input, so that a file that is no
	// message list does not fill the memory.
	maxMessageBytes = 64 << 20
	// maxBatchBytes sends a batch early, before it is a burden as one statement.
	maxBatchBytes = 8 << 20
	// maxListedIDs is how many ids are printed one by one.
	maxListedIDs = 20
)

// sendFlags are the flags of queue send.
type sendFlags struct {
	namespace string
	file      string
	headers   string
	delay     time.Duration
	batch     int
}

func (a *app) queueSendCommand(db *databaseFlags) *cobra.Command {
	var flags sendFlags
	cmd := &cobra.Command{
		Use:   "send (QUEUE | --namespace NAME) [JSON | -]",
		Short: "Send messages from an argument, a file or standard input, one JSON value a line",
		Long: `Send messages from an argument, a file or standard input, one JSON value a line.

A batch is sent while the next one is read. So an error of the database shows when
the next batch is full, or at the end of the input.`,
		Example: `  stephost queue send orders_queue '{"step": "validate", "order_id": "A-1"}'
  stephost queue send --namespace orders --delay 5s '{"order_id": "A-2"}'
  generate | stephost queue send orders_queue --batch 1000`,
		Args: arguments(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.queueSend(cmd, *db, flags, args)
		},
	}
	cmd.Flags().StringVar(&flags.namespace, "namespace", "", "send to the queue that the configuration file gives this namespace")
	cmd.Flags().StringVarP(&flags.file, "file", "f", "", "read messages from this file; - is standard input")
	cmd.Flags().StringVar(&flags.headers, "headers", "", "a JSON object of headers for every message")
	cmd.Flags().DurationVar(&flags.delay, "delay", 0, "how long the messages stay invisible, like 5s")
	cmd.Flags().IntVar(&flags.batch, "batch", 500, "how many messages one statement enqueues at most")
	_ = cmd.MarkFlagFilename("file")
	return cmd
}

func (a *app) queueSend(cmd *cobra.Command, db databaseFlags, flags sendFlags, args []string) error {
	if err := flags.check(cmd); err != nil {
		return err
	}
	queue, args, err := a.sendTarget(cmd, flags, args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return usagef(cmd, "too many arguments: with --namespace only the message is one")
	}
	input, closeInput, err := a.sendInput(cmd, flags, args)
	if err != nil {
		return err
	}
	defer closeInput()
	return a.withBroker(cmd.Context(), db, func(broker *pgmq.Broker) error {
		s := sender{broker: broker, queue: queue, limit: flags.batch, read: flags.message}
		if err := s.sendAll(cmd.Context(), input); err != nil {
			return err
		}
		return a.printSent(&s, "sent")
	})
}

// message is a line of the input as a message.
func (f *sendFlags) message(line []byte) (queues.Outgoing, error) {
	if !json.Valid(line) {
		var value any
		return queues.Outgoing{}, fmt.Errorf("not JSON: %w", json.Unmarshal(line, &value))
	}
	message := queues.Outgoing{Body: bytes.Clone(line), Delay: f.delay}
	if f.headers != "" {
		message.Headers = []byte(f.headers)
	}
	return message, nil
}

func (f *sendFlags) check(cmd *cobra.Command) error {
	if f.batch < 1 {
		return usagef(cmd, "--batch must be positive")
	}
	if f.delay < 0 {
		return usagef(cmd, "--delay must not be negative")
	}
	if f.headers == "" {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(f.headers), &object); err != nil || object == nil {
		return usagef(cmd, `--headers must be a JSON object like {"key": "value"}`)
	}
	return nil
}

// sendTarget returns the queue and what is left of the arguments.
func (a *app) sendTarget(cmd *cobra.Command, flags sendFlags, args []string) (string, []string, error) {
	if flags.namespace != "" {
		ns, err := a.namespaceOf(flags.namespace)
		return ns.Queue, args, err
	}
	if len(args) == 0 {
		return "", nil, usagef(cmd, "name a queue or a --namespace")
	}
	return args[0], args[1:], nil
}

// sendInput opens where the messages come from.
func (a *app) sendInput(cmd *cobra.Command, flags sendFlags, args []string) (io.Reader, func(), error) {
	switch {
	case len(args) == 1 && flags.file != "":
		return nil, nil, usagef(cmd, "give the message as an argument or as a --file, not both")
	case len(args) == 1 && args[0] == "-":
		return a.stdin, func() {}, nil
	case len(args) == 1:
		// An argument is one message, however it is laid out.
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(args[0])); err != nil {
			return nil, nil, &usageError{fmt.Errorf("the message is not JSON: %w", err)}
		}
		return &compact, func() {}, nil
	case flags.file != "" && flags.file != "-":
		file, err := os.Open(flags.file)
		if err != nil {
			return nil, nil, &usageError{fmt.Errorf("open the messages: %w", err)}
		}
		return file, func() { _ = file.Close() }, nil
	default:
		return a.stdin, func() {}, nil
	}
}

// sender enqueues lines in batches.
type sender struct {
	broker *pgmq.Broker
	queue  string
	limit  int // of a batch
	// read makes a message of a line, which is no longer its when it returns.
	read func(line []byte) (queues.Outgoing, error)

	batch     []queues.Outgoing
	bytes     int
	line      int // of the input, the last one read
	batchLine int // of the input, the first one of the batch
	// sending has the result of the batch before; nil: none is being sent.
	sending chan batchResult

	count       int64
	sentLine    int // of the input, the last one that was sent
	first, last int64
	ids         []int64 // the first few
}

func (s *sender) sendAll(ctx context.Context, input io.Reader) error {
	err := s.readAll(ctx, input)
	// What was sent before the error counts, and its own error comes first.
	if sent := s.join(); sent != nil {
		err = sent
	}
	switch {
	case err != nil:
		return s.explain(err)
	case s.count == 0:
		return &usageError{errors.New("no message given: the input is empty")}
	}
	return nil
}

func (s *sender) readAll(ctx context.Context, input io.Reader) error {
	lines := bufio.NewScanner(input)
	lines.Buffer(make([]byte, 0, 64<<10), maxMessageBytes)
	for lines.Scan() {
		s.line++
		if err := s.add(ctx, bytes.TrimSpace(lines.Bytes())); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("longer than %d MiB", maxMessageBytes>>20)
		}
		return fmt.Errorf("line %d: %w", s.line+1, err)
	}
	return s.flush(ctx)
}

func (s *sender) add(ctx context.Context, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	message, err := s.read(line)
	if err != nil {
		return &usageError{fmt.Errorf("line %d is %w", s.line, err)}
	}
	if len(s.batch) == 0 {
		s.batchLine = s.line
	}
	s.batch = append(s.batch, message)
	s.bytes += len(line)
	if len(s.batch) >= s.limit || s.bytes >= maxBatchBytes {
		return s.flush(ctx)
	}
	return nil
}

// batchResult is what became of a batch.
type batchResult struct {
	ids         []int64
	first, last int // lines of the input
	err         error
}

// flush sends the batch while the next one is read. It returns the error of the
// one before.
func (s *sender) flush(ctx context.Context) error {
	if err := s.join(); err != nil || len(s.batch) == 0 {
		return err
	}
	batch, result := s.batch, batchResult{first: s.batchLine, last: s.line}
	sending := make(chan batchResult, 1)
	go func() {
		result.ids, result.err = s.broker.Send(ctx, s.queue, batch)
		sending <- result
	}()
	s.sending, s.batch, s.bytes = sending, make([]queues.Outgoing, 0, len(batch)), 0
	return nil
}

// join waits for the batch that is being sent.
func (s *sender) join() error {
	if s.sending == nil {
		return nil
	}
	result := <-s.sending
	s.sending = nil
	switch {
	case result.err == nil:
	case result.last == 1:
		return result.err
	case result.first == result.last:
		return fmt.Errorf("line %d: %w", result.last, result.err)
	default:
		return fmt.Errorf("lines %d to %d: %w", result.first, result.last, result.err)
	}
	if s.count == 0 {
		s.first = result.ids[0]
	}
	s.last = result.ids[len(result.ids)-1]
	s.count += int64(len(result.ids))
	s.sentLine = result.last
	for _, id := range result.ids {
		if len(s.ids) < maxListedIDs {
			s.ids = append(s.ids, id)
		}
	}
	return nil
}

// explain tells what was sent in spite of the error, so that the caller knows
// where to go on.
func (s *sender) explain(err error) error {
	if s.count == 0 {
		return err
	}
	return fmt.Errorf("%w (the lines up to %d were sent, %s)", err, s.sentLine, countOf(s.count, "message"))
}

// sentReport is what --json prints. IDs is left out when they are many; then
// First and Last are what there is.
type sentReport struct {
	Queue string  `json:"queue"`
	Sent  int64   `json:"sent"`
	First int64   `json:"first_msg_id"`
	Last  int64   `json:"last_msg_id"`
	IDs   []int64 `json:"msg_ids,omitempty"`
}

func (a *app) printSent(s *sender, verb string) error {
	few := s.count <= maxListedIDs
	if a.json {
		report := sentReport{Queue: s.queue, Sent: s.count, First: s.first, Last: s.last}
		if few {
			report.IDs = s.ids
		}
		return a.printJSON(report)
	}
	if !few {
		return a.printf("%s %d messages to %s: %d to %d\n", verb, s.count, s.queue, s.first, s.last)
	}
	return a.printf("%s %s to %s: %s\n", verb, countOf(s.count, "message"), s.queue, strings.Trim(fmt.Sprint(s.ids), "[]"))
}
