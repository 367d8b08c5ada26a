package pgmq

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// configureDial takes libpq's TCP settings out of what is sent to the server,
// which does not know them, and applies them to the socket.
func configureDial(conn *pgx.ConnConfig) error {
	numbers := map[string]int{"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 0}
	for name := range numbers {
		text, given := conn.RuntimeParams[name]
		if !given {
			continue
		}
		delete(conn.RuntimeParams, name)
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("the DSN's %s is not a number", name)
		}
		numbers[name] = n
	}
	dialer := net.Dialer{
		Timeout: conn.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   numbers["keepalives"] != 0,
			Idle:     time.Duration(numbers["keepalives_idle"]) * time.Second,
			Interval: time.Duration(numbers["keepalives_interval"]) * time.Second,
			Count:    numbers["keepalives_count"],
		},
	}
	if numbers["keepalives"] == 0 {
		dialer.KeepAlive = -1
	}
	if ms := numbers["tcp_user_timeout"]; ms > 0 {
		dialer.Control = userTimeout(ms)
	}
	conn.DialFunc = dialer.DialContext
	return nil
}
