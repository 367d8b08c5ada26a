package sdk

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/stephost/stephost/internal/gcpace"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// flushTimeout is how long a plugin that ends waits for its last log lines to
// be read.
const flushTimeout = time.Second

// Main serves a plugin that needs no configuration until the host stops it,
// and then exits. It panics where [New] does. Call it from main, before
// anything is written to stdout.
func Main(opts ...Option) {
	p := New(opts...)
	run(staticProgram(p), p.name, p.version)
}

// MainWith serves a plugin that is made from its configuration. C is a struct
// whose `hcl` tags are the schema of the config block in the user's file; see
// the package documentation. setup is called once, with the decoded block. Its
// context lasts until the plugin is stopped. A [FieldError] points the user at
// the line that is wrong; any error keeps the plugin from starting.
//
// MainWith panics at once when C cannot be a config block. It exits when the
// host stops the plugin.
func MainWith[C any](setup func(ctx context.Context, config C) (*Plugin, error)) {
	run(configuredProgram(setup), executableName(), buildVersion())
}

// configuredProgram is a plugin that is made from its config.
func configuredProgram[C any](setup func(context.Context, C) (*Plugin, error)) program {
	schema := schemaOf(reflect.TypeFor[C]())
	return program{
		described: &pluginv1.DescribeResponse{
			Name:         cleanText(executableName(), maxNameBytes),
			Version:      cleanText(buildVersion(), maxNameBytes),
			Capabilities: capabilities(),
			Config:       schema.wire(),
		},
		setup: func(ctx context.Context, raw []byte) (*Plugin, error) {
			var config C
			if err := decodeConfig(schema, raw, reflect.ValueOf(&config).Elem()); err != nil {
				return nil, err
			}
			p, err := setup(ctx, config)
			if err != nil {
				return nil, configErrors(schema.byLabel(raw, diagnose(err)))
			}
			return p, nil
		},
		late: true,
	}
}

// gcAllowance is how far the heap may grow, in bytes, before garbage is collected. A
// plugin that holds next to nothing would else collect dozens of times a second when
// it is busy, which takes it a quarter of its time.
const gcAllowance = 16 << 20

// run is the life of a plugin process. It ends the process.
func run(p program, name, version string) {
	if os.Getenv(protocol.CookieKey) != protocol.CookieValue {
		if target := os.Getenv(protocol.AttachKey); target != "" {
			runAttached(p, target)
		}
		explain(os.Stderr, name, version)
		os.Exit(1)
	}
	gcpace.Allow(gcAllowance)
	stderr := newLogWriter(os.Stderr)
	logger := ownLogs(stderr, true)
	ignoreSignals(logger)

	svc := newService(p, logger)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ServerPlugins(svc),
		GRPCServer:       newGRPCServer,
		Logger:           logger.Named("go-plugin"),
	})
	code := 0
	if err := svc.close(); err != nil {
		logger.Error("close plugin", "error", err)
		code = 1
	}
	stderr.flush(flushTimeout)
	os.Exit(code)
}

// explain tells somebody who ran a plugin by hand what it is.
func explain(w io.Writer, name, version string) {
	command, err := os.Executable()
	if err != nil {
		command = os.Args[0]
	}
	_, _ = fmt.Fprintf(w, "%s %s is a stephost plugin and runs inside a host: set command = %q in a plugin block of config.hcl and start `stephost run --config config.hcl`; "+
		"to debug it, set %s to the name of that block and start `stephost dev`\n", name, version, command, protocol.AttachKey)
}

// newGRPCServer returns a server with the protocol's limits.
func newGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, protocol.ServerOptions()...)...)
}

// ownLogs makes every usual way to log in this process end in one line per
// record: in JSON for the host, which reads levels and fields from it, else for
// people.
func ownLogs(w io.Writer, forHost bool) hclog.Logger {
	logger := hclog.New(&hclog.LoggerOptions{
		Level:      hclog.Info,
		Output:     w,
		JSONFormat: forHost,
	})
	hclog.SetDefault(logger)
	// slog first: setting its default redirects package log as well, and would
	// lose the levels that the writer below infers.
	slog.SetDefault(slog.New(newSlogHandler(logger)))
	log.SetFlags(0)
	log.SetOutput(logger.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	return logger
}

// ignoreSignals keeps the process alive when its whole group or control group
// is told to stop: the host gets the same signal and drains the plugin first.
// They are caught rather than ignored, because programs that the plugin starts
// would inherit an ignored signal.
func ignoreSignals(logger hclog.Logger) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for sig := range signals {
			logger.Debug("signal left to the host", "signal", sig.String())
		}
	}()
}
