package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthAnswer is what the test plugin logs when it answers for its health.
const healthAnswer = "answers for its health"

// healthOptions let the test plugin misbehave when it is asked for its health.
func healthOptions(mode, arg string) []grpc.ServerOption {
	var misbehave func()
	switch mode {
	case "slow-health":
		late, err := time.ParseDuration(arg)
		if err != nil {
			panic(err)
		}
		misbehave = func() { time.Sleep(late) }
	case "hang-health-with-file":
		misbehave = func() {
			if _, err := os.Stat(arg); err == nil {
				select {}
			}
		}
	default:
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if info.FullMethod == healthpb.Health_Check_FullMethodName {
				misbehave()
				fmt.Fprintln(os.Stderr, healthAnswer)
			}
			return handle(ctx, req)
		})}
}
