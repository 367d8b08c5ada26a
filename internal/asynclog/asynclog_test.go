package asynclog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func report(out io.Writer, dropped int) { _, _ = fmt.Fprintf(out, "dropped %d\n", dropped) }

// gate is an output that blocks until it is opened.
type gate struct {
	entered chan struct{}
	open    chan struct{}
	bytes.Buffer
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	return g.Buffer.Write(p)
}

func TestLinesOfManyWritersArriveWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := New(&out, 1<<20, report)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				_, err := fmt.Fprintf(w, "line %d\n", i)
				require.NoError(t, err)
			}
		})
	}
	all.Wait()
	require.NoError(t, w.Close(time.Minute))
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	require.Len(t, lines, 8*500)
	for _, line := range lines {
		require.Regexp(t, `^line \d+$`, string(line))
	}
	require.Zero(t, w.Dropped())
}

func TestBlockedOutputDropsAndSaysSo(t *testing.T) {
	t.Parallel()
	out := newGate()
	w := New(out, 8, report)
	write := func(s string) {
		n, err := w.Write([]byte(s))
		require.NoError(t, err)
		require.Equal(t, len(s), n)
	}
	write("first\n")
	<-out.entered // the output hangs from here on
	write("2345\n")
	write("too much\n")
	write("and more\n")
	write("7\n")
	require.Equal(t, uint64(2), w.Dropped())
	close(out.open)
	require.NoError(t, w.Close(time.Minute))
	require.Equal(t, "first\n2345\n7\ndropped 2\n", out.String())
}

func TestCloseGivesUpOnABlockedOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := newGate()
		w := New(out, 100, report)
		_, _ = w.Write([]byte("stuck\n"))
		synctest.Wait()
		require.ErrorContains(t, w.Close(time.Second), "not done within 1s")
		_, _ = w.Write([]byte("late\n"))
		require.Equal(t, uint64(1), w.Dropped())
		close(out.open)
	})
}

func TestFailingOutputFailsNobody(t *testing.T) {
	t.Parallel()
	w := New(failing{}, 100, report)
	for range 10 {
		_, err := w.Write([]byte("line\n"))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close(time.Minute))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
