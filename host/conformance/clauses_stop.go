package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stephost/stephost/host/supervisor"
)

func stopClauses() []Clause {
	return []Clause{{
		ID: "stop.asked", Severity: Must, needs: "configure.accepts",
		Title: "ends when it is asked to",
		Demand: "A host calls go-plugin's /plugin.GRPCController/Shutdown or, where that is not implemented, sends SIGTERM. The process " +
			"ends within the stop timeout, 5 s by default; then it is killed.",
		check: checkStop,
	}, {
		ID: "stop.clean", Severity: Should, needs: "stop.asked",
		Title:  "exits with 0 when it was asked to end",
		Demand: "Another exit code looks like a crash to whoever reads the logs.",
		check:  checkCleanStop,
	}, {
		ID: "stop.group", Severity: Must, needs: "configure.accepts",
		Title:  "stays in its process group",
		Demand: "Host and shim end the whole group. A plugin that becomes a daemon, or moves to a session of its own, would outlive its host.",
		check:  checkGroup,
	}, {
		ID: "stop.host-gone", Severity: Must, needs: "stop.group",
		Title:  "is gone when its host is",
		Demand: "When the host dies, however it does, nobody serves on the plugin's address any more.",
		check:  checkHostGone,
	}}
}

func checkStop(ctx context.Context, k *kit) error {
	p, err := k.fresh(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if !p.Stop(ctx) {
		return violated("the process ends by itself", fmt.Sprintf("it still runs after %v", time.Since(began).Round(time.Millisecond)),
			"handle SIGTERM: stop the gRPC server and leave main")
	}
	return note("ended after " + time.Since(began).Round(time.Millisecond).String())
}

func checkCleanStop(ctx context.Context, k *kit) error {
	p, err := k.fresh(ctx)
	if err != nil {
		return err
	}
	if !p.Stop(ctx) {
		return violated("the process ends by itself", "it still runs", "")
	}
	if e := p.Exit(); e.Signal != 0 || e.Code != 0 {
		return violated("exit status 0", e.String(), "handle SIGTERM instead of dying by it")
	}
	return nil
}

func checkGroup(ctx context.Context, k *kit) error {
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	group, err := syscall.Getpgid(p.PID())
	if err != nil {
		return violated("a process with the id that was started", err.Error(), "do not fork into the background")
	}
	if group != p.PID() {
		return violated(fmt.Sprintf("the process group %d", p.PID()), fmt.Sprint(group), "call neither setsid nor setpgid")
	}
	return nil
}

func checkHostGone(ctx context.Context, k *kit) error {
	p, err := k.fresh(ctx)
	if err != nil {
		return err
	}
	h := p.Handshake()
	const hint = "serve from the process that was started, and start no others that leave its process group"
	address, forget := lasting(h)
	defer forget()
	if err := p.Abandon(); err != nil {
		return violated("the process ends with its host", err.Error(), hint)
	}
	dial, cancel := k.patience(ctx)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(dial, h.Network, address)
	if err != nil {
		return nil
	}
	_ = conn.Close()
	return violated("nobody on "+h.Address, "a connection was accepted", hint)
}

// lasting is an address that leads to whoever serves on the plugin's also after
// the shim has removed the directory of its socket.
func lasting(h supervisor.Handshake) (address string, forget func()) {
	if h.Network != "unix" {
		return h.Address, func() {}
	}
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Dir(h.Address)), "s")
	if err != nil {
		return h.Address, func() {}
	}
	forget = func() { _ = os.RemoveAll(dir) }
	address = filepath.Join(dir, "s")
	if err := os.Link(h.Address, address); err != nil {
		address = h.Address
	}
	return address, forget
}
