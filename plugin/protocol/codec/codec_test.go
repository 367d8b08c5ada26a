package codec_test

import (
	"bytes"
	"fmt"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stephost/stephost/plugin/protocol/codec"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// full are messages in which every field of every message is set; there are
// several, because of a oneof one alternative can be set.
func full(t testing.TB, of proto.Message) []proto.Message {
	t.Helper()
	alternatives := 1
	oneofs := of.ProtoReflect().Descriptor().Oneofs()
	for i := range oneofs.Len() {
		alternatives = max(alternatives, oneofs.Get(i).Fields().Len())
	}
	var all []proto.Message
	for alternative := range alternatives {
		m := of.ProtoReflect().New()
		fill(t, m, alternative)
		all = append(all, m.Interface())
	}
	return all
}

func fill(t testing.TB, m protoreflect.Message, alternative int) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && oneof.Fields().Get(alternative%oneof.Fields().Len()) != field {
			continue
		}
		switch {
		case field.IsList():
			list := m.Mutable(field).List()
			for n := range 3 {
				for _, member := range full(t, list.NewElement().Message().Interface()) {
					fill(t, member.ProtoReflect(), n)
					list.Append(protoreflect.ValueOfMessage(member.ProtoReflect()))
				}
			}
		case field.Kind() == protoreflect.MessageKind:
			fill(t, m.Mutable(field).Message(), alternative)
		default:
			m.Set(field, scalar(t, field, alternative))
		}
	}
}

func scalar(t testing.TB, field protoreflect.FieldDescriptor, salt int) protoreflect.Value {
	t.Helper()
	number := int(field.Number())*1000 + salt
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprint(field.Name(), salt))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Append(nil, field.Name(), salt))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(number))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(-int64(number))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(number))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	default:
		require.Failf(t, "unknown kind", "the test cannot fill a field of kind %v", field.Kind())
		return protoreflect.Value{}
	}
}

// A field that is added to the protocol has to be added to the codec.
func TestEveryFieldTravels(t *testing.T) {
	t.Parallel()
	for _, of := range []proto.Message{
		&pluginv1.ExecuteRequest{}, &pluginv1.ExecuteResponse{},
	} {
		for _, m := range full(t, of) {
			bothWays(t, m)
		}
	}
	for _, s := range full(t, &pluginv1.Step{}) {
		m := &pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{s.(*pluginv1.Step)}}
		bothWays(t, m)
		require.True(t, codec.Reads(m), "the codec leaves a step to the library: it does not know all of its fields")
	}
	for _, r := range full(t, &pluginv1.Result{}) {
		m := &pluginv1.ExecuteResponse{Results: []*pluginv1.Result{r.(*pluginv1.Result)}}
		bothWays(t, m)
		require.True(t, codec.Reads(m), "the codec leaves a result to the library: it does not know all of its fields")
		if s := r.(*pluginv1.Result).GetSuccess(); s != nil {
			s.Emits = nil // written by the codec itself then
			bothWays(t, m)
		}
	}
}

// bothWays checks that codec and library understand each other, byte by byte.
func bothWays(t testing.TB, m proto.Message) {
	t.Helper()
	c := codec.New()
	want, err := proto.Marshal(m)
	require.NoError(t, err)
	data, err := c.Marshal(m)
	require.NoError(t, err)
	got := data.Materialize()
	data.Free()
	require.Equal(t, string(want), string(got), "encoded %v", m)

	read := m.ProtoReflect().New().Interface()
	require.NoError(t, c.Unmarshal(pieces(want), read))
	require.Truef(t, proto.Equal(m, read), "decoded\n%v\nas\n%v", m, read)
}

// pieces is data as it comes from a connection.
func pieces(data []byte) mem.BufferSlice {
	half := len(data) / 2
	return mem.BufferSlice{mem.SliceBuffer(data[:half]), mem.SliceBuffer(data[half:])}
}

func TestOtherMessagesAreTheLibrarys(t *testing.T) {
	t.Parallel()
	bothWays(t, &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING})
	bothWays(t, &pluginv1.DescribeResponse{Name: "orders", Steps: []*pluginv1.StepDescription{{Name: "pack", Default: true}}})
}

func batch(steps, body int) *pluginv1.ExecuteRequest {
	m := &pluginv1.ExecuteRequest{}
	for n := range steps {
		m.Steps = append(m.Steps, &pluginv1.Step{
			Id: uint64(n + 1), Namespace: "payments", Step: "charge", Input: bytes.Repeat([]byte{'x'}, body),
			Queue: "payments_queue", MessageId: int64(n + 1000), Attempt: 1, TimeoutMs: 30_000,
			EnqueuedAtUs: 1_700_000_000_000_000, IdempotencyKey: fmt.Sprintf("payments_queue/%d/1700000000000000", n+1000),
		})
	}
	return m
}

func outcomes(results, output int) *pluginv1.ExecuteResponse {
	m := &pluginv1.ExecuteResponse{}
	for n := range results {
		m.Results = append(m.Results, &pluginv1.Result{
			Id: uint64(n + 1), DurationUs: 12, StartedAtUs: 1_700_000_000_000_000,
			Outcome: &pluginv1.Result_Success{Success: &pluginv1.Success{Output: bytes.Repeat([]byte{'y'}, output)}},
		})
	}
	return m
}

func TestBatchesOfAllSizes(t *testing.T) {
	t.Parallel()
	for _, members := range []int{0, 1, 2, 15, 16, 17, 500} {
		for _, body := range []int{0, 1, 200, 1023, 1024, 5000, 16 << 10} {
			bothWays(t, batch(members, body))
			bothWays(t, outcomes(members, body))
		}
	}
	bothWays(t, batch(2, 5<<20))
	bothWays(t, outcomes(2, 5<<20))
}

func TestDecodedMessagesOwnTheirBytes(t *testing.T) {
	t.Parallel()
	c := codec.New()
	m := batch(40, 300)
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	var read pluginv1.ExecuteRequest
	require.NoError(t, c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &read))
	clear(data) // gRPC uses its buffers again
	require.True(t, proto.Equal(m, &read))

	// What a handler appends to its input is not the next step's.
	_ = append(read.GetSteps()[0].GetInput(), "much more than there was"...)
	require.True(t, proto.Equal(m, &read))
}

func TestLargeBodiesAreNotCopied(t *testing.T) {
	t.Parallel()
	c := codec.New()
	m := batch(1, 1<<20)
	data, err := c.Marshal(m)
	require.NoError(t, err)
	defer data.Free()
	require.Len(t, data, 3)
	require.Same(t, unsafe.SliceData(m.GetSteps()[0].GetInput()), unsafe.SliceData(data[1].ReadOnlyData()))
	require.Less(t, data[0].Len()+data[2].Len(), 200)
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	t.Parallel()
	c := codec.New()
	bad := "\xff"
	for _, s := range []*pluginv1.Step{
		{Namespace: bad}, {Step: bad}, {Queue: bad}, {IdempotencyKey: bad}, {TaskUuid: bad}, {StepUuid: bad}, {CorrelationId: bad},
	} {
		_, err := c.Marshal(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{{Id: 1}, s}})
		require.ErrorContains(t, err, "UTF-8", s)
	}
	// A namespace that is not UTF-8.
	require.ErrorContains(t, c.Unmarshal(mem.BufferSlice{mem.SliceBuffer("\x0a\x03\x12\x01\xff")}, &pluginv1.ExecuteRequest{}), "UTF-8")
}

// The codec is there to be frugal; a batch of hundred must not cost hundreds of
// allocations.
func TestBatchesShareAllocations(t *testing.T) {
	c := codec.New()
	steps, results := batch(100, 200), outcomes(100, 0)
	for name, m := range map[string]proto.Message{"steps": steps, "results": results} {
		data, err := proto.Marshal(m)
		require.NoError(t, err)
		in := mem.BufferSlice{mem.SliceBuffer(data)}
		read := m.ProtoReflect().New().Interface()
		decode := testing.AllocsPerRun(20, func() { require.NoError(t, c.Unmarshal(in, read)) })
		require.LessOrEqual(t, decode, 25.0, "to decode 100 %s", name)
		encode := testing.AllocsPerRun(20, func() {
			out, err := c.Marshal(m)
			require.NoError(t, err)
			out.Free()
		})
		require.LessOrEqual(t, encode, 10.0, "to encode 100 %s", name)
	}
}
