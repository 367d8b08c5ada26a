package codec

import (
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Reads tells whether the codec decodes a message without the library.
func Reads(m proto.Message) bool {
	data, err := proto.Marshal(m)
	if err != nil {
		return false
	}
	switch m.(type) {
	case *pluginv1.ExecuteRequest:
		return readRequest(data, &pluginv1.ExecuteRequest{})
	case *pluginv1.ExecuteResponse:
		return readResponse(data, &pluginv1.ExecuteResponse{})
	default:
		return false
	}
}
