package supervisor

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
)

// explainBroken says why a stream has ended with an error. The usual one that
// gRPC words in terms of its own is a message that one side did not take.
func explainBroken(err error) error {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.ResourceExhausted || !strings.Contains(strings.ToLower(s.Message()), "larger than max") {
		return fmt.Errorf("a stream broke: %w", err)
	}
	sizes := ""
	if at := strings.LastIndexByte(s.Message(), '('); at >= 0 {
		sizes = " " + s.Message()[at:]
	}
	if strings.Contains(sizes, fmt.Sprint(protocol.MaxMessageBytes)) {
		return fmt.Errorf("it sent a message above the limit of %d MiB%s, which broke its stream: "+
			"a result and what it emits must be smaller together", protocol.MaxMessageBytes>>20, sizes)
	}
	return fmt.Errorf("it does not take a message as large as the host sent%s, which broke its stream: "+
		"its gRPC server must take up to %d MiB", sizes, protocol.MaxMessageBytes>>20)
}
