package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/plugin/protocol"
)

// adminFlag adds --admin to a command and those below it.
func (a *app) adminFlag(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVar(&a.adminAddr, "admin", "", "admin endpoint of the host (default: STEPHOST_ADMIN, the configuration file, or "+protocol.DefaultAdmin+")")
	return cmd
}

// client finds the host as the root help tells. The file's token is only sent
// to the file's address.
func (a *app) client() (*admin.Client, error) {
	var cfg *config.Config
	if a.adminAddr == "" && os.Getenv("STEPHOST_ADMIN") == "" {
		var err error
		if cfg, err = a.lookupConfig(); err != nil {
			return nil, err
		}
	}
	return a.clientOf(cfg)
}

// clientOf is client with the file as it was read, or nil.
func (a *app) clientOf(cfg *config.Config) (*admin.Client, error) {
	addr, token := a.adminAddr, os.Getenv("STEPHOST_ADMIN_TOKEN")
	if addr == "" {
		addr = os.Getenv("STEPHOST_ADMIN")
	}
	if addr == "" {
		addr = protocol.DefaultAdmin
		if cfg != nil && cfg.Host.Admin.Listen != "" {
			addr = cfg.Host.Admin.Listen
			if token == "" {
				token = cfg.Host.Admin.Token.Reveal()
			}
		}
	}
	client, err := admin.NewClient(addr, token)
	if err != nil {
		return nil, &usageError{err}
	}
	return client, nil
}
