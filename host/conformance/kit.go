package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/internal/pluginconfig"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// kit is what clauses work with. It belongs to one goroutine.
type kit struct {
	opts  Options
	audit *audit

	// shared is a configured process that clauses use as long as none of them
	// has found something wrong.
	shared *process
	// opened are the processes of the current clause.
	opened []*supervisor.Session

	unusable      error
	met           *firstMeeting
	name, version string
	sampled       *sampled
	lastStep      uint64
}

// process is a session with what the plugin says about itself.
type process struct {
	*supervisor.Session
	first *pluginv1.DescribeResponse
	// described is in force since Configure.
	described *pluginv1.DescribeResponse
}

func newKit(opts Options) *kit { return &kit{opts: opts, audit: newAudit()} }

func (k *kit) close() {
	k.endClause(true)
}

// endClause ends the processes of a clause, and the shared one where it may
// have been harmed. It returns what the last of them wrote on stderr.
func (k *kit) endClause(broken bool) (stderr []string) {
	sessions := k.opened
	k.opened = nil
	if broken && k.shared != nil {
		sessions = append(sessions, k.shared.Session)
		k.shared = nil
	}
	for _, s := range sessions {
		s.Close()
		stderr = s.Stderr()
	}
	if !broken {
		return nil
	}
	return stderr
}

// patience bounds a wait.
func (k *kit) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, k.opts.Patience)
}

// open starts a process of its own for the clause.
func (k *kit) open(ctx context.Context) (*supervisor.Session, error) {
	return k.openSpec(ctx, k.opts.Spec)
}

func (k *kit) openSpec(ctx context.Context, spec supervisor.Spec) (*supervisor.Session, error) {
	s, err := supervisor.OpenSession(ctx, spec, k.opts.Deps)
	if err != nil {
		k.notice(err)
		return nil, err
	}
	k.opened = append(k.opened, s)
	return s, nil
}

// notice remembers a program that cannot be executed: then there is nothing to
// check.
func (k *kit) notice(err error) {
	var program *supervisor.ProgramError
	if k.unusable == nil && errors.As(err, &program) {
		k.unusable = program
	}
}

// fresh starts and configures a process of its own for the clause.
func (k *kit) fresh(ctx context.Context) (*process, error) {
	s, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	return k.configured(ctx, s)
}

// usual returns the shared process.
func (k *kit) usual(ctx context.Context) (*process, error) {
	if k.shared != nil {
		return k.shared, nil
	}
	p, err := k.fresh(ctx)
	if err != nil {
		return nil, err
	}
	k.shared = p
	k.opened = slices.DeleteFunc(k.opened, func(s *supervisor.Session) bool { return s == p.Session })
	return p, nil
}

// configured describes and configures a session.
func (k *kit) configured(ctx context.Context, s *supervisor.Session) (*process, error) {
	first, err := k.describe(ctx, s)
	if err != nil {
		return nil, err
	}
	value, err := k.config(ctx, first)
	if err != nil {
		return nil, err
	}
	resp, err := k.configure(ctx, s, k.configureRequest(value))
	if err != nil {
		return nil, violated("an answer to Configure", say(err), "")
	}
	if refusal := refusalOf(resp); refusal != "" {
		return nil, violated("a plugin that takes its configuration", refusal,
			"give a config block that it takes: --config-block FILE or --config-json JSON")
	}
	p := &process{Session: s, first: first, described: protocol.Configured(first, resp)}
	k.name, k.version = p.described.GetName(), p.described.GetVersion()
	return p, nil
}

func (k *kit) describe(ctx context.Context, s *supervisor.Session) (*pluginv1.DescribeResponse, error) {
	ctx, cancel := k.patience(ctx)
	defer cancel()
	d, err := s.Client().Describe(ctx, &pluginv1.DescribeRequest{HostVersion: k.opts.Deps.HostVersion})
	if err != nil {
		return nil, violated("an answer to Describe", say(err), "serve stephost.plugin.v1.PluginService on the address in the handshake line")
	}
	return d, nil
}

func (k *kit) configureRequest(value []byte) *pluginv1.ConfigureRequest {
	return &pluginv1.ConfigureRequest{Config: value, Plugin: k.opts.Spec.Name, LogLevel: "info"}
}

func (k *kit) configure(ctx context.Context, s *supervisor.Session, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	ctx, cancel := k.patience(ctx)
	defer cancel()
	resp, err := s.Client().Configure(ctx, req)
	k.audit.diagnostics(resp)
	return resp, err
}

// config is the config block's value as a host would send it.
func (k *kit) config(ctx context.Context, described *pluginv1.DescribeResponse) ([]byte, error) {
	k.audit.schema = described.GetConfig()
	if k.opts.Spec.Configure != nil {
		value, err := k.opts.Spec.Configure(ctx, described)
		if err != nil {
			return nil, badConfig(err)
		}
		return value, nil
	}
	value, diags := pluginconfig.Written{Plugin: k.opts.Spec.Name}.Decode(described.GetConfig())
	if diags.HasErrors() {
		var texts []string
		for _, d := range diags {
			texts = append(texts, d.Summary+": "+d.Detail)
		}
		return nil, badConfig(errors.New(strings.Join(texts, "; ")))
	}
	return value, nil
}

func badConfig(err error) error {
	return violated("a config block that fits the plugin's schema", err.Error(),
		"give one: --config-block FILE or --config-json JSON")
}

// refusalOf joins the errors among the diagnostics; empty: accepted.
func refusalOf(resp *pluginv1.ConfigureResponse) string {
	var texts []string
	for _, d := range resp.GetDiagnostics() {
		if d.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
			texts = append(texts, strings.TrimSpace(d.GetSummary()+" "+d.GetDetail()))
		}
	}
	return strings.Join(texts, "; ")
}

// say puts a gRPC error into words.
func say(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s: %s", s.Code(), s.Message())
	}
	return err.Error()
}

// alive reports whether the process still runs and answers.
func (k *kit) alive(ctx context.Context, s *supervisor.Session) error {
	select {
	case <-s.Exited():
		return violated("a process that goes on", "it ended: "+s.Exit().String(), "catch what goes wrong and answer with an error")
	default:
	}
	_, err := k.describe(ctx, s)
	if err == nil {
		return nil
	}
	select {
	case <-s.Exited():
		return violated("a process that goes on", "it ended: "+s.Exit().String(), "catch what goes wrong and answer with an error")
	case <-time.After(time.Second):
		return err
	}
}

// newStep makes a step that no other has the id of.
func (k *kit) newStep(s Sample) *pluginv1.Step {
	k.lastStep++
	id := k.lastStep
	return &pluginv1.Step{
		Id: id, Namespace: "conformance", Step: s.Step, Input: bytes.Clone(s.Input),
		Queue: "conformance_queue", MessageId: int64(id), Attempt: 1,
		TimeoutMs:      sampleTimeout.Milliseconds(),
		EnqueuedAtUs:   time.Now().UnixMicro(),
		IdempotencyKey: fmt.Sprintf("conformance_queue-%d", id),
	}
}

func (k *kit) newSteps(s Sample, n int) []*pluginv1.Step {
	steps := make([]*pluginv1.Step, n)
	for i := range steps {
		steps[i] = k.newStep(s)
	}
	return steps
}
