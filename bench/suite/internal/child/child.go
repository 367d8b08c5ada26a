package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// patience bounds the start and the end of a child.
const patience = time.Minute

// Child is a contender's process. Its methods must not be called concurrently.
type Child struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan []byte
	stderr tail
}

// Start starts a child and waits until it is ready.
func Start(ctx context.Context, env *suite.Env, name string, config any) (*Child, error) {
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	c := &Child{name: name, lines: make(chan []byte)}
	c.cmd = exec.Command(env.Programs.Self, Command, name, string(encoded))
	c.cmd.Stderr = &c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go c.read(out)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	line, err := c.line(ctx)
	if err == nil && string(bytes.TrimSpace(line)) != ready {
		err = fmt.Errorf("it said %q", line)
	}
	if err != nil {
		_ = c.cmd.Process.Kill()
		_ = c.Stop() // it was killed
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

func (c *Child) read(out io.Reader) {
	defer close(c.lines)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		c.lines <- line
	}
}

func (c *Child) line(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-c.lines:
		if !ok {
			return nil, fmt.Errorf("it ended: %s", c.stderr.String())
		}
		return line, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// PID is the child's process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask sends a request and decodes the answer.
func (c *Child) Ask(ctx context.Context, request, answer any) error {
	encoded, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("ask %s: %w: %s", c.name, err, c.stderr.String())
	}
	line, err := c.line(ctx)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.name, err)
	}
	return json.Unmarshal(line, answer)
}

// Stop ends the child and waits for it.
func (c *Child) Stop() error {
	_ = c.in.Close()
	timer := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	for range c.lines { // until its output ends
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", c.name, err, c.stderr.String())
	}
	return nil
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
