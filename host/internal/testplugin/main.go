// Command testplugin is the plugin of the host's tests. Its input says what the
// handler is to do.
package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// input is what a test asks of a handler.
type input struct {
	// Log is a file to which each execution adds a line with the process's id.
	Log string `json:"log"`
	// Until is a file for which the handler waits, as long as its context lives;
	// Regardless makes it wait even after that.
	Until      string `json:"until"`
	Regardless bool   `json:"regardless"`
	Fail       string `json:"fail"`
	Permanent  bool   `json:"permanent"`
	Panic      bool   `json:"panic"`
	// Next is a namespace to emit to.
	Next   string `json:"next"`
	Config bool   `json:"config"`
}

// configuration is the plugin's config block.
type configuration struct {
	Word    string        `hcl:"word,optional" default:"none"`
	Wait    time.Duration `hcl:"wait,optional"`
	Refuse  bool          `hcl:"refuse,optional"`
	Options []string      `hcl:"options,optional"`
}

func main() {
	sdk.MainWith(func(_ context.Context, cfg configuration) (*sdk.Plugin, error) {
		if cfg.Refuse {
			return nil, sdk.FieldError("refuse", errors.New("refused as asked"))
		}
		return sdk.New(sdk.Handle("work", func(ctx context.Context, in input) (any, error) {
			return work(ctx, in, cfg)
		}, sdk.Default())), nil
	})
}

func work(ctx context.Context, in input, cfg configuration) (any, error) {
	if in.Log != "" {
		if err := note(in.Log); err != nil {
			return nil, err
		}
	}
	if in.Until != "" {
		if err := wait(ctx, in.Until, in.Regardless); err != nil {
			return nil, err
		}
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

func note(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	return errors.Join(err, f.Close())
}

func wait(ctx context.Context, path string, regardless bool) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		done := ctx.Done()
		if regardless {
			done = nil
		}
		select {
		case <-done:
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
