// Command testplugin is the plugin of the host's tests. Its input says what the
// handler is to do.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// input is what a test asks of a handler.
type input struct {
	// Log is a file to which each execution adds a line with the process's id.
	Log string `json:"log"`
	// Keys is a file to which each execution adds a line with the idempotency key.
	Keys string `json:"keys"`
	// Until is a file for which the handler waits, as long as its context lives;
	// Regardless makes it wait even after that.
	Until      string `json:"until"`
	Regardless bool   `json:"regardless"`
	// Told is a file that is made when the context ends during that wait.
	Told string `json:"told"`
	// Milliseconds is how long it works.
	Milliseconds int    `json:"ms"`
	Fail         string `json:"fail"`
	Permanent    bool   `json:"permanent"`
	Panic        bool   `json:"panic"`
	// Next is a namespace to emit to.
	Next   string `json:"next"`
	Config bool   `json:"config"`
	// Say is logged at the levels debug and info, in this order.
	Say string `json:"say"`
	// Exit ends the process by a panic that the SDK cannot catch, once the file
	// Until is there.
	Exit bool `json:"exit"`
	// About asks for a report.
	About bool `json:"about"`
}

// report is what a handler can see of its surroundings.
type report struct {
	PID int `json:"pid"`
	// Running is how many handlers ran when this one started, itself included.
	Running    int64    `json:"running"`
	Executable string   `json:"executable"`
	Args       []string `json:"args"`
	Env        []string `json:"env"`
	Dir        string   `json:"dir"`
	UID        int      `json:"uid"`
	GID        int      `json:"gid"`
	// Limits and Cgroup are the texts in which Linux tells them.
	Limits string `json:"limits"`
	Cgroup string `json:"cgroup"`
	// Left is the time until the context's deadline, or absent.
	Left *float64 `json:"left_seconds,omitempty"`
}

// configuration is the plugin's config block.
type configuration struct {
	Word    string        `hcl:"word,optional" default:"none"`
	Wait    time.Duration `hcl:"wait,optional"`
	Refuse  bool          `hcl:"refuse,optional"`
	Options []string      `hcl:"options,optional"`
}

func main() {
	var running atomic.Int64
	sdk.MainWith(func(_ context.Context, cfg configuration) (*sdk.Plugin, error) {
		if cfg.Refuse {
			return nil, sdk.FieldError("refuse", errors.New("refused as asked"))
		}
		return sdk.New(sdk.Handle("work", func(ctx context.Context, in input) (any, error) {
			now := running.Add(1)
			defer running.Add(-1)
			if in.Keys != "" {
				if err := appendLine(in.Keys, sdk.StepInfo(ctx).IdempotencyKey); err != nil {
					return nil, err
				}
			}
			if in.Exit {
				return nil, exit(ctx, in)
			}
			if out, err := work(ctx, in, cfg); !in.About || err != nil {
				return out, err
			}
			return about(ctx, now)
		}, sdk.Default())), nil
	})
}

func about(ctx context.Context, running int64) (report, error) {
	path, err := os.Executable()
	r := report{PID: os.Getpid(), Running: running, Executable: path, Args: os.Args[1:], Env: os.Environ(), UID: os.Getuid(), GID: os.Getgid()}
	r.Dir, _ = os.Getwd()
	limits, _ := os.ReadFile("/proc/self/limits")
	cgroup, _ := os.ReadFile("/proc/self/cgroup")
	r.Limits, r.Cgroup = string(limits), string(cgroup)
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Seconds()
		r.Left = &left
	}
	return r, err
}

func exit(ctx context.Context, in input) error {
	if err := note(in.Log); err != nil {
		return err
	}
	if in.Until != "" {
		if err := wait(ctx, in); err != nil {
			return err
		}
	}
	go panic("as asked")
	select {}
}

func work(ctx context.Context, in input, cfg configuration) (any, error) {
	if in.Log != "" {
		if err := note(in.Log); err != nil {
			return nil, err
		}
	}
	if in.Until != "" {
		if err := wait(ctx, in); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Duration(in.Milliseconds) * time.Millisecond)
	if in.Say != "" {
		sdk.Logger(ctx).Debug(in.Say)
		sdk.Logger(ctx).Info(in.Say)
		slog.InfoContext(ctx, in.Say+" by slog")
	}
	switch {
	case in.Panic:
		panic("as asked")
	case in.Permanent:
		return nil, sdk.Permanent(errors.New(in.Fail))
	case in.Fail != "":
		return nil, errors.New(in.Fail)
	case in.Next != "":
		if err := sdk.Emit(ctx, sdk.ToNamespace(in.Next), map[string]string{"from": sdk.StepInfo(ctx).Namespace}); err != nil {
			return nil, err
		}
	case in.Config:
		return cfg, nil
	}
	return map[string]int{"pid": os.Getpid()}, nil
}

func note(path string) error { return appendLine(path, strconv.Itoa(os.Getpid())) }

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

func wait(ctx context.Context, in input) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	done := ctx.Done()
	for {
		if _, err := os.Stat(in.Until); err == nil {
			return nil
		}
		select {
		case <-done:
			if in.Told != "" {
				if err := note(in.Told); err != nil {
					return err
				}
			}
			if !in.Regardless {
				return context.Cause(ctx)
			}
			done = nil
		case <-ticker.C:
		}
	}
}
