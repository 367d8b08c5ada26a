package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// modeVariable makes the test binary a plugin. Its value is the fault that the
// plugin has; "sound" has none.
const modeVariable = "CONFORMANCE_TEST_MODE"

// slowVariable gives the plugin a step that runs for that long.
const slowVariable = "CONFORMANCE_TEST_SLOW"

// testPlugin is written by hand on nothing but gRPC, as a plugin in another
// language is.
type testPlugin struct {
	pluginv1.UnimplementedPluginServiceServer
	mode string
	slow time.Duration

	mu         sync.Mutex
	described  int
	configured bool
	drained    bool
	streams    int
	// serial is held by the running step of a plugin that runs one at a time.
	serial sync.Mutex
}

func (p *testPlugin) is(mode string) bool { return p.mode == mode }

func (p *testPlugin) Describe(_ context.Context, req *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.described++
	switch {
	case p.is("no-describe"):
		return nil, status.Error(codes.Unimplemented, "later")
	case p.is("strict") && len(req.ProtoReflect().GetUnknown()) > 0:
		return nil, status.Error(codes.InvalidArgument, "unknown field")
	}
	return p.description(), nil
}

func (p *testPlugin) description() *pluginv1.DescribeResponse {
	d := &pluginv1.DescribeResponse{
		Name: "test", Version: "1",
		Steps: []*pluginv1.StepDescription{
			{Name: "quick", Default: true}, {Name: "fail"}, {Name: "emit"}, {Name: "beat"},
		},
		MaxConcurrency: 6,
		Capabilities: []pluginv1.Capability{
			pluginv1.Capability_CAPABILITY_CANCEL, pluginv1.Capability_CAPABILITY_HEARTBEAT, pluginv1.Capability_CAPABILITY_EMIT,
		},
		Config: &pluginv1.ConfigBlock{
			Attributes: []*pluginv1.ConfigAttribute{{Name: "currency", Type: []byte(`"string"`), Default: []byte(`"EUR"`)}},
			Blocks: []*pluginv1.ConfigNestedBlock{{
				TypeName: "account", Nesting: pluginv1.Nesting_NESTING_LIST,
				Block: &pluginv1.ConfigBlock{Attributes: []*pluginv1.ConfigAttribute{{Name: "id", Type: []byte(`"number"`)}}},
			}},
		},
	}
	if p.slow > 0 {
		d.Steps = append(d.Steps, &pluginv1.StepDescription{Name: "slow"})
	}
	switch p.mode {
	case "counts":
		d.Version = fmt.Sprint(p.described)
	case "nameless":
		d.Name = ""
	case "bad-type":
		d.Config.Attributes[0].Type = []byte("string")
	case "no-steps":
		d.Steps = nil
	case "same-steps":
		d.Steps = append(d.Steps, d.Steps[0])
	case "two-defaults":
		d.Steps[1].Default = true
	case "odd-capability":
		d.Capabilities = append(d.Capabilities, 99)
	case "declares-nothing":
		d.Capabilities = nil
	case "greedy":
		d.MaxConcurrency = 1
	case "only-quick":
		d.Steps, d.Config = d.Steps[:1], nil
	}
	return d
}

func (p *testPlugin) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	complain := func(summary string, path ...*pluginv1.PathStep) (*pluginv1.ConfigureResponse, error) {
		return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{
			{Severity: pluginv1.Severity_SEVERITY_ERROR, Summary: summary, Path: path},
		}}, nil
	}
	attribute := func(name string) *pluginv1.PathStep {
		return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Attribute{Attribute: name}}
	}
	if p.is("refuses") {
		return complain("not today")
	}
	if p.is("only-quick") {
		p.ready()
		return &pluginv1.ConfigureResponse{}, nil
	}
	var config struct {
		Currency *string
		Account  []struct{ ID float64 }
	}
	if err := json.Unmarshal(req.GetConfig(), &config); err != nil {
		switch p.mode {
		case "config-crash":
			os.Exit(7)
		case "config-hang":
			select {}
		case "no-summary":
			return complain("")
		case "lost-path":
			return complain("wrong", attribute("config"), attribute("currency"))
		case "lost-index":
			return complain("wrong", attribute("account"), attribute("id"))
		}
		return complain(err.Error(), attribute("account"), &pluginv1.PathStep{Selector: &pluginv1.PathStep_Index{Index: 1}}, attribute("id"))
	}
	p.ready()
	resp := &pluginv1.ConfigureResponse{Description: p.description()}
	if resp.Description.Config = nil; p.is("schema-again") {
		resp.Description.Config = p.description().GetConfig()
	}
	return resp, nil
}

func (p *testPlugin) ready() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.configured = true
}

// conversation is one Execute stream.
type conversation struct {
	*testPlugin
	rpc     pluginv1.PluginService_ExecuteServer
	sending sync.Mutex
	running sync.WaitGroup
	slots   chan struct{}

	mu      sync.Mutex
	cancels map[uint64]context.CancelCauseFunc
}

func (p *testPlugin) Execute(rpc pluginv1.PluginService_ExecuteServer) error {
	p.mu.Lock()
	p.streams++
	refused := !p.configured && !p.is("eager") || p.drained && p.is("once") || p.streams > 1 && p.is("one-stream")
	p.mu.Unlock()
	if refused {
		return status.Error(codes.FailedPrecondition, "not now")
	}
	c := &conversation{testPlugin: p, rpc: rpc, slots: make(chan struct{}, 6), cancels: map[uint64]context.CancelCauseFunc{}}
	err := c.receive()
	switch {
	case errors.Is(err, io.EOF) && p.is("never-ends"):
		select {}
	case errors.Is(err, io.EOF) && p.is("ends-at-once"):
		return nil
	case errors.Is(err, io.EOF) && p.is("ends-badly"):
		return status.Error(codes.Internal, "no more")
	case errors.Is(err, io.EOF) && p.is("refuses-running"):
		c.refuseAll()
		return nil
	case err != nil && !errors.Is(err, io.EOF) && p.is("dies-on-reset"):
		os.Exit(8)
	}
	c.running.Wait()
	if p.mu.Lock(); true {
		p.drained = true
		p.mu.Unlock()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (c *conversation) receive() error {
	for {
		req, err := c.rpc.Recv()
		if err != nil {
			return err
		}
		if err := c.complaint(req); err != nil {
			return err
		}
		for n, step := range req.GetSteps() {
			if c.is("drops-batch") && n >= 10 {
				break
			}
			if c.is("crashes") && bytes.Contains(step.GetInput(), []byte("ключ")) {
				os.Exit(9)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			c.mu.Lock()
			c.cancels[step.GetId()] = cancel
			c.mu.Unlock()
			c.running.Go(func() { c.run(ctx, step) })
		}
		for _, cancellation := range req.GetCancellations() {
			c.mu.Lock()
			cancel := c.cancels[cancellation.GetId()]
			c.mu.Unlock()
			switch {
			case cancel == nil && c.is("strict-cancel"):
				return status.Error(codes.NotFound, "no such step")
			case cancel != nil && !c.is("ignores-cancel"):
				cancel(errors.New("cancelled"))
			}
		}
	}
}

// complaint is for plugins that mind what they should not.
func (c *conversation) complaint(req *pluginv1.ExecuteRequest) error {
	if c.is("strict") && len(req.ProtoReflect().GetUnknown()) > 0 || c.is("hates-empty") && len(req.GetSteps())+len(req.GetCancellations()) == 0 {
		return status.Error(codes.InvalidArgument, "what is that?")
	}
	return nil
}

func (c *conversation) refuseAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.cancels {
		c.send(&pluginv1.Result{Id: id, Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{Reason: "draining"}}})
	}
}

func (c *conversation) run(ctx context.Context, step *pluginv1.Step) {
	if !c.is("greedy") {
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
	}
	if c.is("serial") {
		c.serial.Lock()
		defer c.serial.Unlock()
	}
	if timeout := step.GetTimeoutMs(); timeout > 0 && !c.is("ignores-timeout") {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, time.Duration(timeout)*time.Millisecond, errors.New("time is up"))
		defer stop()
	}
	began := time.Now()
	r := &pluginv1.Result{Id: step.GetId(), StartedAtUs: began.UnixMicro()}
	if c.is("milliseconds") {
		r.StartedAtUs = began.UnixMilli()
	}
	if c.is("float-ids") {
		r.Id = uint64(float64(r.Id))
	}
	c.handle(ctx, step, r)
	r.DurationUs = time.Since(began).Microseconds()
	c.mu.Lock()
	delete(c.cancels, step.GetId())
	c.mu.Unlock()
	switch c.mode {
	case "no-outcome":
		r.Outcome = nil
	case "twice":
		c.send(r)
	case "mute":
		return
	}
	c.send(r)
	if c.is("late-beat") {
		c.beat(step.GetId(), 1)
	}
}

func (c *conversation) handle(ctx context.Context, step *pluginv1.Step, r *pluginv1.Result) {
	success := &pluginv1.Success{Output: []byte(`{"ok":true}`)}
	r.Outcome = &pluginv1.Result_Success{Success: success}
	fail := func(f *pluginv1.Failure) { r.Outcome = &pluginv1.Result_Failure{Failure: f} }
	switch step.GetStep() {
	case "quick":
		switch c.mode {
		case "not-json":
			success.Output = []byte("ok")
		case "ends-at-once":
			time.Sleep(20 * time.Millisecond)
		}
	case "slow":
		select {
		case <-time.After(c.slow):
		case <-ctx.Done():
			f := &pluginv1.Failure{Message: context.Cause(ctx).Error(), Type: protocol.FailureCancelled}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && !c.is("vague-timeout") {
				f.Type = protocol.FailureTimeout
			}
			fail(f)
		}
	case "fail":
		f := &pluginv1.Failure{Message: "as always", Type: "error"}
		switch c.mode {
		case "no-message":
			f.Message = ""
		case "odd-verdict":
			f.Verdict = 17
		case "odd-delay":
			f.RetryAfterMs = 5
		}
		fail(f)
	case "emit":
		emit := &pluginv1.Emit{Target: &pluginv1.Emit_Namespace{Namespace: "next"}, Body: []byte(`{}`)}
		if c.is("bad-emit") {
			emit.Body = []byte("{")
		}
		if c.is("lost-emit") {
			emit.Target = nil
		}
		success.Emits = append(success.Emits, emit)
	case "beat":
		c.beat(step.GetId(), 0.5)
		if c.is("over-one") {
			c.beat(step.GetId(), 50)
		}
	default:
		if !c.is("falls-back") {
			fail(&pluginv1.Failure{Message: "no step " + strings.ToValidUTF8(step.GetStep(), "?"), Type: protocol.FailureUnknownStep})
		}
	}
}

func (c *conversation) beat(id uint64, fraction float64) {
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.rpc.Send(&pluginv1.ExecuteResponse{Heartbeats: []*pluginv1.Heartbeat{{Id: id, Fraction: fraction}}})
}

func (c *conversation) send(r *pluginv1.Result) {
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.rpc.Send(&pluginv1.ExecuteResponse{Results: []*pluginv1.Result{r}})
}
