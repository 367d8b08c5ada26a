package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/devbuild"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

const (
	// devReadyTimeout is how long dev waits for the host to be ready before it
	// says so and goes on.
	devReadyTimeout = 30 * time.Second
	// devStopTimeout bounds the stop of the private database.
	devStopTimeout = 30 * time.Second
	// devDatabase is the database of the private cluster that is used.
	devDatabase = "postgres"
)

func (a *app) devCommand() *cobra.Command {
	var samples bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "As run, with a private PostgreSQL, all queues made, and each step shown",
		Long: `As run, for a developer's machine. Unless DATABASE_URL or the configuration file
names a database, a private PostgreSQL is started; its data is kept between runs.
The queue schema and all queues of the configuration are made, and every step is
shown as it is picked up and settled. A plugin's command may be the directory of
a Go package: it is built, and built and swapped again whenever a file is saved.
Ctrl-C drains and stops everything.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig(config.WithPackages())
			if err != nil {
				return err
			}
			log := a.openLog(cfg)
			defer log.close()
			d := &dev{app: a, cfg: cfg, log: log, samples: samples}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&samples, "samples", false, "send a small stream of sample orders")
	return cmd
}

// dev is one run of the command.
type dev struct {
	*app
	cfg     *config.Config
	log     *hostLog
	samples bool

	dsn      string
	database string // for people
	private  bool   // the database is of our own making

	builder *devbuild.Builder
	host    *host.Host
}

func (d *dev) run(ctx context.Context) (err error) {
	stop, err := d.startDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := d.installSchema(ctx); err != nil {
		return err
	}
	broker, err := pgmq.Open(ctx, pgmq.Options{DSN: d.dsn, MaxConnections: 3, Logger: d.log.Named("dev")})
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer broker.Close()
	if err := d.createQueues(ctx, broker, d.cfg); err != nil {
		return err
	}
	steps := newStepPrinter(d.stdout)
	defer steps.close()
	if err := d.build(ctx, steps); err != nil {
		return err
	}
	hangups, stopHangups := hangups()
	defer stopHangups()
	options, err := d.hostOptions(d.cfg, d.log)
	if err != nil {
		return err
	}
	options.DroppedLogLines = d.log.writer.Dropped
	options.OnStep = steps.observe
	options.AllowAttach = true
	options.Load = func() (*config.Config, hcl.Diagnostics) { return d.readAgain(ctx, broker) }
	options.Hold = d.builder.Unbuilt
	if d.host, err = newHost(ctx, options); err != nil {
		return err
	}
	return d.serve(ctx, hangups, broker, steps)
}

// serve runs the host and, beside it, tells how to use it, sends samples, and
// builds what is saved.
func (d *dev) serve(ctx context.Context, hangups <-chan os.Signal, broker *pgmq.Broker, steps *stepPrinter) error {
	beside, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		if err := d.greet(beside, d.host, broker, steps); err != nil && beside.Err() == nil {
			d.log.Error("sample orders stopped", "error", err)
		}
	})
	all.Go(func() { d.rebuild(beside) })
	err := serve(ctx, d.host, hangups)
	cancel()
	all.Wait()
	return err
}

// startDatabase chooses the database. stop ends what was started.
func (d *dev) startDatabase(ctx context.Context) (stop func() error, err error) {
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		d.use(dsn, "the one of DATABASE_URL")
		return func() error { return nil }, nil
	}
	if dsn := d.cfg.Queue.DSN.Reveal(); dsn != "" {
		d.use(dsn, "the one of "+d.configPath)
		return func() error { return nil }, nil
	}
	cluster, err := devpg.Start(ctx, devpg.Options{Dir: filepath.Join(d.stateDir(), "postgres"), Logger: d.log.Named("postgres")})
	if err != nil {
		return nil, fmt.Errorf("start a private PostgreSQL: %w", err)
	}
	d.use(cluster.DSN(devDatabase), "a private PostgreSQL, its data is kept in "+cluster.Dir())
	d.private = true
	d.point(d.cfg)
	if err := writeDevState(d.stateDir(), devState{PID: os.Getpid(), DSN: d.dsn}); err != nil {
		return nil, errors.Join(err, stopCluster(cluster))
	}
	return func() error { return errors.Join(removeDevState(d.stateDir()), stopCluster(cluster)) }, nil
}

func (d *dev) use(dsn, name string) {
	d.dsn, d.database = dsn, name
	d.point(d.cfg)
}

// point makes a configuration use the database that was chosen.
func (d *dev) point(cfg *config.Config) {
	cfg.Queue.DSN = config.Secret(d.dsn)
	if d.private {
		cfg.Queue.ListenDSN = ""
	}
}

// readAgain reads the file for a reload and, as at the start, builds the packages
// and makes the queues that it names.
func (d *dev) readAgain(ctx context.Context, broker *pgmq.Broker) (*config.Config, hcl.Diagnostics) {
	cfg, diags := d.reader(config.WithPackages())()
	if diags.HasErrors() {
		return cfg, diags
	}
	if diag := d.changePackages(ctx, cfg); diag != nil {
		return cfg, append(diags, diag)
	}
	d.point(cfg)
	if err := d.createQueues(ctx, broker, cfg); err != nil {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Queues were not made", Detail: err.Error()})
	}
	return cfg, diags
}

func stopCluster(cluster *devpg.Cluster) error {
	// The caller's context has ended by now: that is why the database stops.
	ctx, cancel := context.WithTimeout(context.Background(), devStopTimeout)
	defer cancel()
	if err := cluster.Stop(ctx); err != nil {
		return fmt.Errorf("stop the private PostgreSQL: %w", err)
	}
	return nil
}

// installSchema installs the queue schema, unless the database has a pgmq that
// is not ours: that is used as it is.
func (d *dev) installSchema(ctx context.Context) error {
	result, err := installSchema(ctx, d.dsn)
	var foreign *schema.ForeignSchemaError
	switch {
	case errors.As(err, &foreign) && (foreign.Info.Kind == schema.Extension || foreign.Info.HasMeta):
		d.log.Info("using the pgmq that is installed in the database")
		return nil
	case err == nil && result.Changed():
		d.log.Info("installed the queue schema", "version", result.To)
	}
	return err
}

func (d *dev) createQueues(ctx context.Context, broker *pgmq.Broker, cfg *config.Config) error {
	for _, name := range configuredQueues(cfg) {
		created, err := broker.CreateQueue(ctx, name)
		if err != nil {
			return err
		}
		if created {
			d.log.Info("created queue", "queue", name)
		}
	}
	return nil
}

// greet tells how to use the host once it is ready, and sends the samples.
func (d *dev) greet(ctx context.Context, h *host.Host, broker *pgmq.Broker, steps *stepPrinter) error {
	ready, cancel := context.WithTimeout(ctx, devReadyTimeout)
	err := h.WaitReady(ready)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		d.log.Warn("the host is not ready yet", "error", err)
	}
	steps.say(d.banner(h.AdminAddr()))
	if !d.samples {
		return nil
	}
	return d.sendSamples(ctx, broker, steps)
}
