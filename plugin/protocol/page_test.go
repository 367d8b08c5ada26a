package protocol_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/stephost/stephost/plugin/protocol"
)

func protocolPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	return string(page)
}

// TestPageShowsMessagesOfTheProtocol reads each sample on the page as what it
// says it is.
func TestPageShowsMessagesOfTheProtocol(t *testing.T) {
	t.Parallel()
	samples := regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllStringSubmatch(protocolPage(t), -1)
	seen := map[string]bool{}
	for _, sample := range samples {
		seen[sample[1]] = true
		parse(t, sample[1], sample[2])
	}
	for _, name := range []string{"DescribeResponse", "ConfigureRequest", "ConfigureResponse", "ExecuteRequest", "ExecuteResponse"} {
		require.True(t, seen[name], "there is no %s on the page", name)
	}
}

func parse(t *testing.T, name, text string) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("stephost.plugin.v1." + name))
	require.NoError(t, err, "%s is no message of the protocol", name)
	m := kind.New().Interface()
	require.NoError(t, protojson.Unmarshal([]byte(text), m), "%s", text)
	return m
}

// TestPageTellsTheLimits finds on the page what the code keeps to.
func TestPageTellsTheLimits(t *testing.T) {
	t.Parallel()
	page := protocolPage(t)
	for _, fact := range []string{
		fmt.Sprintf("| `%s` | `%s`", protocol.CookieKey, protocol.CookieValue),
		fmt.Sprintf("%d bytes (%d MiB)", protocol.MaxMessageBytes, protocol.MaxMessageBytes>>20),
		fmt.Sprintf("up to %d steps", protocol.MaxBatchSteps),
		fmt.Sprintf("about %d MiB", protocol.MaxBatchBytes>>20),
		fmt.Sprintf("inputs up to %d KiB", protocol.LargeBodyBytes>>10),
		fmt.Sprintf("| 2 | `%d`, the version of this protocol |", protocol.Version),
		"`" + strings.Join([]string{
			protocol.FailurePanic, protocol.FailureTimeout, protocol.FailureCancelled,
		}, "`, `"),
		"`" + protocol.FailureBadInput + "`, `" + protocol.FailureBadOutput + "` and `" + protocol.FailureUnknownStep + "`",
	} {
		require.Contains(t, strings.Join(strings.Fields(page), " "), fact)
	}
}
