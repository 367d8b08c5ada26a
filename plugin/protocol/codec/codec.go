package codec

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// New returns the codec. It encodes and decodes any message, those of the
// Execute stream by itself and the others by the protobuf library. It is safe for
// concurrent use; each connection should have its own.
func New() encoding.CodecV2 {
	return &codec{fallback: encoding.GetCodecV2(proto.Name)}
}

type codec struct {
	fallback encoding.CodecV2
	buffers  buffers
}

// Name is that of the library's codec, since what it writes is the same. gRPC
// makes it part of the content type: application/grpc+proto.
func (c *codec) Name() string { return proto.Name }

// Marshal implements encoding.CodecV2.
func (c *codec) Marshal(v any) (mem.BufferSlice, error) {
	w := writer{buffers: &c.buffers}
	known := false
	switch m := v.(type) {
	case *pluginv1.ExecuteRequest:
		known = w.request(m)
	case *pluginv1.ExecuteResponse:
		known = w.response(m)
	}
	if !known {
		w.discard()
		return c.fallback.Marshal(v)
	}
	return w.finish(), nil
}

// Unmarshal implements encoding.CodecV2.
func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *pluginv1.ExecuteRequest:
		in := c.buffers.contiguous(data)
		defer in.Free()
		if readRequest(in.ReadOnlyData(), m) {
			return nil
		}
	case *pluginv1.ExecuteResponse:
		in := c.buffers.contiguous(data)
		defer in.Free()
		if readResponse(in.ReadOnlyData(), m) {
			return nil
		}
	}
	return c.fallback.Unmarshal(data, v)
}
