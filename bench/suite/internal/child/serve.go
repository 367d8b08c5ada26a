package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Command is the first argument of a child.
const Command = "child"

// Program is what a child runs. It prepares, calls serve with what answers a
// request, and gives back what it took.
type Program func(ctx context.Context, config json.RawMessage, serve func(answer Answer) error) error

// Answer does what a request asks for.
type Answer func(ctx context.Context, request json.RawMessage) (any, error)

// Main is the main function of a child and returns its exit code. args follow
// Command.
func Main(args []string, programs map[string]Program) int {
	err := run(args, programs, os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func run(args []string, programs map[string]Program, in io.Reader, out io.Writer) error {
	if len(args) != 2 || programs[args[0]] == nil {
		return fmt.Errorf("no such child: %q", args)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	requests := make(chan []byte)
	go func() {
		// The suite's end ends what runs.
		defer cancel()
		defer close(requests)
		lines := bufio.NewReader(in)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case requests <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return programs[args[0]](ctx, json.RawMessage(args[1]), func(answer Answer) error {
		if _, err := fmt.Fprintln(out, ready); err != nil {
			return err
		}
		for request := range requests {
			got, err := answer(ctx, request)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(out).Encode(got); err != nil {
				return err
			}
		}
		return nil
	})
}

const ready = "ready"
