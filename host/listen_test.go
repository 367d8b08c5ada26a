package host_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Notifications that never come must be noticed, and cost a host that polls
// nothing but time.
func TestAHostWhoseNotificationsAreSwallowedSaysSoAndPolls(t *testing.T) {
	t.Parallel()
	for mode, code := range map[string]int{"Hybrid": http.StatusOK, "EventDrivenOnly": http.StatusServiceUnavailable} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := build(t, newDatabase(t), settings{
				queue: fmt.Sprintf("listen_dsn = %q", newDatabase(t)),
				events: fmt.Sprintf(`
					deployment_mode = %q
					listener {
						connection_timeout = "200ms"
						safety_sweep       = "1s"
					}
					fallback_poller { polling_interval = "50ms" }`, mode),
			})
			b.run()
			b.eventually("it serves and says why nothing is heard", func() bool {
				select {
				case <-b.Serving():
				default:
					return false
				}
				return strings.Contains(b.Status(t.Context()).Listener.LastError, "listen_dsn: do both lead to the same database?")
			})
			b.send("a_queue", `{}`)
			b.results(1)
			b.eventually("the plugin serves", func() bool { return b.Status(t.Context()).Plugins[0].Ready > 0 })
			b.eventually("the host is ready or not, as its mode has it", func() bool {
				got, _ := b.get("/health/ready", "")
				return got == code
			})
		})
	}
}
