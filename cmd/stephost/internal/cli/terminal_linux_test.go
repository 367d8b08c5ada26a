package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// terminal is one end for a program, and the other for whoever types and reads.
func terminal(t *testing.T) (program, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = person.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = program.Close() })
	return program, person
}

// letters is a database with three messages in the queue dead.
func letters(t *testing.T) string {
	t.Helper()
	dsn := devpgtest.New(t, devpgtest.Template("pgmq", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := schema.Install(ctx, conn)
		return err
	}))
	broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: dsn})
	require.NoError(t, err)
	defer broker.Close()
	for _, queue := range []string{"dead", "work"} {
		_, err := broker.CreateQueue(t.Context(), queue)
		require.NoError(t, err)
	}
	_, err = broker.Send(t.Context(), "dead", []queues.Outgoing{{Body: []byte(`1`)}, {Body: []byte(`2`)}, {Body: []byte(`3`)}})
	require.NoError(t, err)
	return dsn
}

func TestDiscardAsksOnATerminal(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]struct {
		code int
		says string
	}{
		"y\n":   {ExitOK, "discarded 3 messages from dead\n"},
		"YES\n": {ExitOK, "discarded 3 messages from dead\n"},
		"n\n":   {ExitFailure, "nothing was discarded"},
		"\n":    {ExitFailure, "nothing was discarded"},
		"\x04":  {ExitFailure, "nothing was discarded"}, // the end of the input
	} {
		t.Run(fmt.Sprintf("%q", answer), func(t *testing.T) {
			t.Parallel()
			program, person := terminal(t)
			_, err := io.WriteString(person, answer)
			require.NoError(t, err)
			var out bytes.Buffer
			a := &app{stdin: program, stdout: &out, stderr: &out, version: "test"}
			require.Equal(t, want.code, a.run(t.Context(), []string{"dead", "discard", "dead", "--all", "--dsn", letters(t)}), out.String())
			require.Contains(t, out.String(), "Discard 3 messages of dead? They stay in its archive. [y/N] ")
			require.Contains(t, out.String(), want.says)
		})
	}
}

func TestReplayShowsProgressOnATerminal(t *testing.T) {
	t.Parallel()
	program, person := terminal(t)
	var out bytes.Buffer
	a := &app{stdin: bytes.NewReader(nil), stdout: &out, stderr: program, version: "test"}
	require.Equal(t, ExitOK, a.run(t.Context(), []string{"dead", "replay", "dead", "--all", "--to", "work", "--rate", "1000/m", "--dsn", letters(t)}))
	require.Equal(t, "replayed 3 messages from dead: 3 to work\n", out.String())
	shown, piece := "", make([]byte, 4096)
	for !strings.HasSuffix(shown, "replayed 3 of 3 from dead"+clearLine) {
		n, err := person.Read(piece)
		require.NoError(t, err, shown)
		shown += string(piece[:n])
	}
	require.Contains(t, shown, "replayed 2 of 3 from dead")
}
