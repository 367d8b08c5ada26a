package protocol

import (
	"google.golang.org/grpc"

	"github.com/stephost/stephost/plugin/protocol/codec"
)

// MaxMessageBytes is the largest gRPC message in either direction. Bodies come
// from and go to jsonb columns, which PostgreSQL bounds at 256 MiB; one more
// MiB is room for the envelope. gRPC's own default of 4 MiB would break a
// stream on its first large body, and go-plugin's of 2 GiB would let a plugin
// exhaust the host's memory with one message.
const MaxMessageBytes = 257 << 20

// MaxBatchSteps is how many steps or results travel in one message. Beyond
// some hundred, larger batches no longer make a stream faster, but they delay
// the first member.
const MaxBatchSteps = 1000

// MaxBatchBytes is where a batch is closed, counted over its members' encoded
// sizes. It keeps the time that one message occupies the stream near a
// millisecond. A single larger member travels alone.
const MaxBatchBytes = 1 << 20

// LargeBodyBytes is from where on a body belongs on a stream of its own, so
// that it does not hold up small steps.
const LargeBodyBytes = 256 << 10

// streamWindow is how many bytes may be under way on a stream. Where gRPC is not told,
// it finds out by a ping for what it reads, and each wakes both processes once more.
const streamWindow = MaxBatchBytes

// ServerOptions returns the limits and the codec for a plugin's gRPC server.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec.New()),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(2 * streamWindow),
	}
}

// DialOptions returns the limits and the codec for a host's connection to a plugin. They
// win over go-plugin's defaults when passed as ClientConfig.GRPCDialOptions.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec.New()),
			grpc.MaxCallRecvMsgSize(MaxMessageBytes),
			grpc.MaxCallSendMsgSize(MaxMessageBytes),
		),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(2 * streamWindow),
	}
}
