package codec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/proto"

	"github.com/stephost/stephost/plugin/protocol/codec"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// BenchmarkCodec writes and reads batches as they travel in a drain: 100 steps of
// 200 bytes, and their results. The library is what it is compared with.
func BenchmarkCodec(b *testing.B) {
	request, response := &pluginv1.ExecuteRequest{}, &pluginv1.ExecuteResponse{}
	for id := range uint64(100) {
		request.Steps = append(request.Steps, &pluginv1.Step{
			Id: id, Namespace: "orders", Queue: "orders_queue", Step: "charge", Attempt: 1,
			Input: []byte(`"` + strings.Repeat("x", 198) + `"`),
		})
		response.Results = append(response.Results, &pluginv1.Result{Id: id, Outcome: &pluginv1.Result_Success{Success: &pluginv1.Success{Output: []byte("null")}}})
	}

	for name, c := range map[string]encoding.CodecV2{"own": codec.New(), "library": encoding.GetCodecV2(protocodec.Name)} {
		b.Run("steps/"+name, func(b *testing.B) {
			roundTrip(b, c, request, func() proto.Message { return new(pluginv1.ExecuteRequest) })
		})
		b.Run("results/"+name, func(b *testing.B) {
			roundTrip(b, c, response, func() proto.Message { return new(pluginv1.ExecuteResponse) })
		})
	}
}

func roundTrip(b *testing.B, c encoding.CodecV2, m proto.Message, empty func() proto.Message) {
	b.ReportAllocs()
	for b.Loop() {
		data, err := c.Marshal(m)
		require.NoError(b, err)
		require.NoError(b, c.Unmarshal(data, empty()))
		data.Free()
	}
}
