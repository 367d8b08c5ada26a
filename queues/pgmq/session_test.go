package pgmq

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

func TestConnectTakesWhatOpenTakes(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.Cluster(t, nil)
	dsn := cluster.TCPDSN("postgres") + "&keepalives=1&keepalives_idle=5&keepalives_interval=2&keepalives_count=2" +
		"&tcp_user_timeout=9000&pool_max_conns=4&default_query_exec_mode=exec&application_name=mine"
	conn, err := Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	var name string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT current_setting('application_name')`).Scan(&name))
	require.Equal(t, "stephost setup mine", name)
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := Connect(t.Context(), "")
	require.ErrorContains(t, err, "set the DSN")
	_, err = Connect(t.Context(), "postgres://me:hunter2%@nowhere/db")
	require.ErrorContains(t, err, "percent-encoded")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = Connect(t.Context(), "postgres://me@127.0.0.1:1/db")
	require.ErrorContains(t, err, `connect to database "db" at 127.0.0.1:1 as "me"`)
}
