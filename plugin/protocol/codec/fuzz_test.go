package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stephost/stephost/plugin/protocol/codec"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// FuzzRequest and FuzzResponse hold the codec to the library's opinion of any
// bytes.
func FuzzRequest(f *testing.F) {
	seed(f, batch(2, 3), &pluginv1.ExecuteRequest{})
	f.Fuzz(func(t *testing.T, data []byte) { sameOpinion(t, data, &pluginv1.ExecuteRequest{}) })
}

func FuzzResponse(f *testing.F) {
	seed(f, outcomes(2, 3), &pluginv1.ExecuteResponse{})
	f.Fuzz(func(t *testing.T, data []byte) { sameOpinion(t, data, &pluginv1.ExecuteResponse{}) })
}

func seed(f *testing.F, messages ...proto.Message) {
	f.Helper()
	last := messages[len(messages)-1]
	for _, m := range append(messages, full(f, last)...) {
		data, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(data)
		f.Add(append(data, data...))
		f.Add(append(data, 0x0a, 0x03, 0x12, 0x01, 0xff))
		f.Add(append(data, 0x1a, 0x01, 0x00))
		f.Add(append(data, 0x0a, 0x06, 0x1a, 0x00, 0x1a, 0x02, 0x0a, 0x00))
	}
}

func sameOpinion(t *testing.T, data []byte, of proto.Message) {
	t.Helper()
	want, got := of.ProtoReflect().New().Interface(), of.ProtoReflect().New().Interface()
	wantErr := proto.Unmarshal(data, want)
	gotErr := codec.New().Unmarshal(pieces(data), got)
	require.Equal(t, wantErr == nil, gotErr == nil, "library: %v, codec: %v", wantErr, gotErr)
	if wantErr != nil {
		return
	}
	require.True(t, proto.Equal(want, got), "library:\n%v\ncodec:\n%v", want, got)
	if unknown(want.ProtoReflect()) {
		return // nobody passes a message on
	}
	bothWays(t, want)
}

// unknown tells whether a message, or one in it, has unknown fields.
func unknown(m protoreflect.Message) (found bool) {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				found = found || unknown(value.List().Get(i).Message())
			}
		default:
			found = found || unknown(value.Message())
		}
		return !found
	})
	return found
}
