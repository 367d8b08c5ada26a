// Command rawplugin speaks the plugin protocol without an SDK, so that it can
// answer what no SDK would: results and emitted messages are whatever bytes its
// input asks for. A plugin in another language may well do the same.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// input is what a test asks for. Texts are bytes, since jsonb does not carry all
// that a plugin can send.
type input struct {
	// Output is the result; with Nest, so many pairs of brackets are around it.
	Output []byte `json:"output"`
	Nest   int    `json:"nest"`
	Emits  []emit `json:"emits"`
	// Fail is the message of a failure for good, Type its type.
	Fail []byte `json:"fail"`
	Type []byte `json:"type"`
}

type emit struct {
	Queue   []byte `json:"queue"`
	Body    []byte `json:"body"`
	Headers []byte `json:"headers"`
	DelayMS int64  `json:"delay_ms"`
}

func main() {
	if os.Getenv(protocol.CookieKey) != protocol.CookieValue {
		fmt.Fprintln(os.Stderr, "I am a plugin.")
		os.Exit(1)
	}
	listener, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "raw.sock"))
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(protocol.ServerOptions()...)
	pluginv1.RegisterPluginServiceServer(server, service{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	fmt.Printf("1|%d|unix|%s|grpc|\n", protocol.Version, listener.Addr())
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

type service struct {
	pluginv1.UnimplementedPluginServiceServer
}

// Describe names the one handler.
func (service) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Name: "raw", Version: "1", Steps: []*pluginv1.StepDescription{{Name: "raw", Default: true}}}, nil
}

// Configure takes anything.
func (service) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{}, nil
}

// Execute answers each step at once.
func (service) Execute(stream pluginv1.PluginService_ExecuteServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		results := make([]*pluginv1.Result, 0, len(req.GetSteps()))
		for _, step := range req.GetSteps() {
			results = append(results, answer(step))
		}
		if err := stream.Send(&pluginv1.ExecuteResponse{Results: results}); err != nil {
			return err
		}
	}
}

func answer(step *pluginv1.Step) *pluginv1.Result {
	var in input
	if err := json.Unmarshal(step.GetInput(), &in); err != nil {
		in = input{Fail: []byte(err.Error()), Type: []byte("input")}
	}
	if in.Fail != nil {
		return &pluginv1.Result{Id: step.GetId(), Outcome: &pluginv1.Result_Failure{Failure: &pluginv1.Failure{
			Message: string(in.Fail), Type: string(in.Type), Stack: string(in.Fail),
			Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT,
		}}}
	}
	success := &pluginv1.Success{Output: in.Output}
	if in.Nest > 0 {
		success.Output = slices.Concat(bytes.Repeat([]byte("["), in.Nest), in.Output, bytes.Repeat([]byte("]"), in.Nest))
	}
	for _, e := range in.Emits {
		success.Emits = append(success.Emits, &pluginv1.Emit{
			Target: &pluginv1.Emit_Queue{Queue: string(e.Queue)}, Body: e.Body, Headers: e.Headers, DelayMs: e.DelayMS,
		})
	}
	return &pluginv1.Result{Id: step.GetId(), Outcome: &pluginv1.Result_Success{Success: success}}
}
