package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Serve until SIGTERM or SIGINT, then drain and exit; a second signal exits at once; SIGHUP reloads",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if cfg.Queue.DSN == "" {
				return &usageError{fmt.Errorf("%s names no database: set DATABASE_URL or queue.dsn, or use `stephost dev`, which starts one", a.configPath)}
			}
			hangups, stop := hangups()
			defer stop()
			log := a.openLog(cfg)
			defer log.close()
			options, err := a.hostOptions(cfg, log)
			if err != nil {
				return err
			}
			options.Load = a.reader()
			options.DroppedLogLines = log.writer.Dropped
			h, err := newHost(cmd.Context(), options)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), h, hangups)
		},
	}
}

// hostOptions make this very binary the guard of the plugins.
func (a *app) hostOptions(cfg *config.Config, log hclog.Logger) (host.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return host.Options{}, fmt.Errorf("find this program's path: %w", err)
	}
	return host.Options{Config: cfg, Logger: log, Version: a.version, ShimCommand: []string{self, ShimCommand}}, nil
}

func newHost(ctx context.Context, options host.Options) (*host.Host, error) {
	h, err := host.New(ctx, options)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return nil, fmt.Errorf("interrupted while starting: %w", context.Canceled)
	}
	return h, err
}
