package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// modeVariable makes the test binary a plugin and says how it misbehaves.
const modeVariable = "SUPERVISOR_TEST_MODE"

// runTestPlugin is the main function of the test plugin.
func runTestPlugin(mode string) {
	arg := os.Getenv("ARG")
	switch mode {
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot find my licence")
		os.Exit(3)
	case "exit-unless-file":
		if _, err := os.Stat(arg); err != nil {
			os.Exit(3)
		}
	case "panic":
		panic("bad init")
	case "attached":
		serveByHand(arg)
		return
	case "stdout":
		fmt.Println("hello from an init function")
	case "silent":
		select {}
	case "plain":
		// As a plugin in a language without AutoMTLS does.
		_ = os.Unsetenv("PLUGIN_CLIENT_CERT")
	case "insists-on-tls":
		fmt.Printf("1|1|unix|/nowhere|grpc|%s\n", strings.Repeat("x", 60))
		select {}
	case "wrong-version":
		fmt.Printf("1|99|unix|/nowhere|grpc|%s\n", strings.Repeat("x", 60))
		select {}
	case "flood":
		line := []byte(strings.Repeat("x", 1000) + "\n")
		go func() {
			for {
				_, _ = syscall.Write(2, line)
			}
		}()
	case "panic-all":
		debug.SetTraceback("all")
		for range 300 {
			go func() { select {} }()
		}
	case "grandchild", "grandchild-apart":
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: mode == "grandchild-apart"}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		_ = os.WriteFile(arg, []byte(fmt.Sprint(cmd.Process.Pid)), 0o600)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ServerPlugins(&testPlugin{mode: mode, release: make(chan struct{})}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, protocol.ServerOptions()...)
			opts = append(opts, sizeOptions(mode)...)
			return grpc.NewServer(append(opts, healthOptions(mode, arg)...)...)
		},
	})
	if mode == "ignore-shutdown" {
		select {}
	}
}

type testPlugin struct {
	pluginv1.UnimplementedPluginServiceServer
	mode    string
	once    sync.Once
	release chan struct{}
	cancels sync.Map
	config  *pluginv1.ConfigureRequest
}

func (p *testPlugin) Describe(_ context.Context, _ *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if p.mode == "hang-describe" {
		select {}
	}
	if p.mode == "exit-describe" {
		os.Exit(4)
	}
	return &pluginv1.DescribeResponse{
		Name: "test", Version: "1.2.3", MaxConcurrency: 7,
		Steps: []*pluginv1.StepDescription{{Name: "echo", Default: true}, {Name: "hold"}},
	}, nil
}

func (p *testPlugin) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	p.config = req
	switch p.mode {
	case "hang-configure":
		select {}
	case "warn":
		return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{
			{Severity: pluginv1.Severity_SEVERITY_WARNING, Summary: "old key"}}}, nil
	case "refuse":
		return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{
			{Severity: pluginv1.Severity_SEVERITY_ERROR, Summary: "no such currency", Detail: "XYZ"}}}, nil
	}
	return &pluginv1.ConfigureResponse{}, nil
}

func (p *testPlugin) SetLogLevel(_ context.Context, req *pluginv1.SetLogLevelRequest) (*pluginv1.SetLogLevelResponse, error) {
	if p.mode == "keeps-level" {
		return p.UnimplementedPluginServiceServer.SetLogLevel(context.Background(), req)
	}
	fmt.Fprintln(os.Stderr, "log level is now", req.GetLogLevel())
	return &pluginv1.SetLogLevelResponse{}, nil
}

func (p *testPlugin) Execute(rpc pluginv1.PluginService_ExecuteServer) error {
	var sending sync.Mutex
	send := func(results ...*pluginv1.Result) {
		sending.Lock()
		defer sending.Unlock()
		_ = rpc.Send(&pluginv1.ExecuteResponse{Results: results})
	}
	var held sync.WaitGroup
	for {
		req, err := rpc.Recv()
		if err == io.EOF {
			// Tells the test that the half-close has arrived.
			p.cancels.Range(func(id, _ any) bool { return rpcHeartbeat(&sending, rpc, id.(uint64)) == nil })
			held.Wait()
			return nil
		}
		if err != nil {
			return err
		}
		var batch []*pluginv1.Result
		for _, step := range req.GetSteps() {
			switch step.GetStep() {
			case "hold":
				cancelled := make(chan struct{})
				p.cancels.Store(step.GetId(), cancelled)
				id := step.GetId()
				_ = rpcHeartbeat(&sending, rpc, id)
				held.Go(func() {
					select {
					case <-p.release:
						send(succeed(id, []byte(`"released"`)))
					case <-cancelled:
						send(&pluginv1.Result{Id: id, Outcome: &pluginv1.Result_Failure{Failure: &pluginv1.Failure{Type: "cancelled"}}})
					}
				})
			case "release":
				p.once.Do(func() { close(p.release) })
				send(succeed(step.GetId(), nil))
			case "end":
				return nil
			case "deaf":
				send(succeed(step.GetId(), nil))
				select {}
			default:
				batch = append(batch, p.act(step)...)
			}
		}
		if len(batch) > 0 {
			send(batch...)
		}
		for _, c := range req.GetCancellations() {
			if ch, ok := p.cancels.LoadAndDelete(c.GetId()); ok {
				close(ch.(chan struct{}))
			}
		}
	}
}

func rpcHeartbeat(mu *sync.Mutex, rpc pluginv1.PluginService_ExecuteServer, id uint64) error {
	mu.Lock()
	defer mu.Unlock()
	return rpc.Send(&pluginv1.ExecuteResponse{Heartbeats: []*pluginv1.Heartbeat{{Id: id, Message: "held"}}})
}

func (p *testPlugin) act(step *pluginv1.Step) []*pluginv1.Result {
	id := step.GetId()
	switch step.GetStep() {
	case "exit":
		os.Exit(3)
	case "panic":
		go panic("boom in a handler")
		select {}
	case "sigkill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Minute)
	case "sigstop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "spin":
		go func() {
			for n := 0; ; n++ {
				_ = n
			}
		}()
	case "twice":
		return []*pluginv1.Result{succeed(id, nil), succeed(id, nil)}
	case "stranger":
		return []*pluginv1.Result{succeed(id+1_000_000, nil), succeed(id, nil)}
	case "stderr":
		_, _ = syscall.Write(2, step.GetInput())
	case "stdout":
		_, _ = syscall.Write(1, step.GetInput())
	case "print":
		fmt.Println(string(step.GetInput()))
	case "env":
		env, _ := json.Marshal(os.Environ())
		return []*pluginv1.Result{succeed(id, env)}
	case "level":
		return []*pluginv1.Result{succeed(id, []byte(p.config.GetLogLevel()))}
	case "self":
		return []*pluginv1.Result{succeed(id, lookAround(p.mode))}
	case "config":
		return []*pluginv1.Result{succeed(id, p.config.GetConfig())}
	}
	return []*pluginv1.Result{succeed(id, step.GetInput())}
}

func succeed(id uint64, output []byte) *pluginv1.Result {
	return &pluginv1.Result{Id: id, Outcome: &pluginv1.Result_Success{Success: &pluginv1.Success{Output: output}}}
}
