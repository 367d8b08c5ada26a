package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// quickStart is a start that nobody minds. A host waits longer, but while it
// does, the plugin's messages wait too.
const quickStart = 3 * time.Second

func startClauses() []Clause {
	return []Clause{{
		ID: "start.by-hand", Severity: Must,
		Title: "explains itself to somebody who runs it by hand",
		Demand: "Without the magic cookie in its environment (" + protocol.CookieKey + "=" + protocol.CookieValue +
			") the program does not serve: it says on stderr what it is and exits with a code that is not 0.",
		check: checkByHand,
	}, {
		ID: "start.handshake", Severity: Must,
		Title: "prints the handshake line first",
		Demand: "The first line on stdout is CORE|PROTOCOL|NETWORK|ADDRESS|grpc|CERTIFICATE. Nothing may be printed before it; " +
			"logs belong on stderr.",
		check: func(ctx context.Context, k *kit) error {
			return checkHandshake(ctx, k, supervisor.FaultNoLine, supervisor.FaultOtherText)
		},
	}, {
		ID: "start.version", Severity: Must, needs: "start.handshake",
		Title:  "speaks this version of the protocol over gRPC",
		Demand: fmt.Sprintf("The handshake line begins with 1|%d| and its fifth field is grpc.", protocol.Version),
		check: func(ctx context.Context, k *kit) error {
			return checkHandshake(ctx, k, supervisor.FaultVersion, supervisor.FaultNotGRPC)
		},
	}, {
		ID: "start.tls", Severity: Must, needs: "start.version",
		Title: "serves TLS when it is asked to",
		Demand: "With PLUGIN_CLIENT_CERT in its environment the plugin serves TLS with a certificate of its own, which is the " +
			"sixth field of the handshake line, and accepts that client's certificate only.",
		check: checkTLS,
	}, {
		ID: "start.plain", Severity: Must, needs: "start.version",
		Title:  "serves without TLS when it is not asked to",
		Demand: "Without PLUGIN_CLIENT_CERT the plugin serves in the clear and leaves the certificate out: debuggers need that.",
		check:  checkPlain,
	}, {
		ID: "start.stranger", Severity: Should, needs: "start.tls",
		Title:  "refuses clients without the host's certificate",
		Demand: "Where TLS is on it is mutual: nobody but the host may run steps.",
		check:  checkStranger,
	}, {
		ID: "start.address", Severity: Must, needs: "start.version",
		Title: "listens on this machine only",
		Demand: "The address is the absolute path of a unix socket, best in the directory that PLUGIN_UNIX_SOCKET_DIR names, " +
			"or host:port on the loopback interface.",
		check: checkAddress,
	}, {
		ID: "start.time", Severity: Should, needs: "start.version",
		Title:  "starts quickly",
		Demand: fmt.Sprintf("The handshake comes within %v. A host gives up after 10 s, and messages wait while a plugin starts.", quickStart),
		check:  checkStartTime,
	}}
}

func checkByHand(ctx context.Context, k *kit) error {
	ctx, cancel := k.patience(ctx)
	defer cancel()
	const hint = "compare the environment variable at the beginning of main, print one line on stderr and exit with 1"
	got, err := supervisor.ExecuteByHand(ctx, k.opts.Spec, k.opts.Deps)
	switch {
	case err != nil:
		k.notice(err)
		return err
	case !got.Ended:
		return violated("the program exits without the magic cookie", fmt.Sprintf("it still runs after %v", k.opts.Patience), hint)
	case got.Exit.Signal == 0 && got.Exit.Code == 0:
		return violated("an exit code that is not 0", got.Exit.String(), hint)
	case strings.TrimSpace(got.Stdout+got.Stderr) == "":
		return violated("a message for people", "no output", hint)
	}
	return nil
}

// checkHandshake looks for certain faults; others are other clauses'.
func checkHandshake(ctx context.Context, k *kit, faults ...supervisor.HandshakeFault) error {
	err := k.meet(ctx).startErr
	if err == nil {
		return nil
	}
	var wrong *supervisor.HandshakeError
	if !errors.As(err, &wrong) {
		if faults[0] == supervisor.FaultNoLine {
			return startViolated("a handshake line and a connection", err, "print the line once the server listens, and flush stdout")
		}
		return nil
	}
	for _, fault := range faults {
		if wrong.Fault == fault {
			return startViolated("1|1|unix|/path/of/socket|grpc|CERTIFICATE as the first line on stdout", err,
				"print nothing else on stdout before it; check what libraries and package initialisers print")
		}
	}
	return nil
}

func checkTLS(ctx context.Context, k *kit) error {
	if k.opts.Spec.DisableTLS {
		return skip(`it is checked with TLS off`)
	}
	const hint = `create a key and a self-signed certificate, serve with it, trust PLUGIN_CLIENT_CERT as the client's CA, and print ` +
		`the certificate (DER, base64 without padding); or run it with tls = "off" and check it with --tls off`
	met := k.meet(ctx)
	switch {
	case met.startErr != nil:
		return startViolated("a TLS certificate in the handshake line and a connection that uses it", met.startErr, hint)
	case met.handshake.Certificate == "":
		return violated("a TLS certificate in the handshake line", "none", hint)
	}
	return nil
}

func checkPlain(ctx context.Context, k *kit) error {
	spec := k.opts.Spec
	spec.DisableTLS = true
	const hint = "serve TLS only where PLUGIN_CLIENT_CERT is set and not empty"
	s, err := k.openSpec(ctx, spec)
	if err != nil {
		return startViolated("a connection in the clear", err, hint)
	}
	if _, err := k.describe(ctx, s); err != nil {
		return violated("calls in the clear", say(err), hint)
	}
	return nil
}

func checkStranger(ctx context.Context, k *kit) error {
	if k.opts.Spec.DisableTLS {
		return skip(`it is checked with TLS off`)
	}
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	for who, creds := range map[string]credentials.TransportCredentials{
		"without TLS":           insecure.NewCredentials(),
		"without a certificate": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // a stranger trusts anybody
	} {
		if err := callAsStranger(ctx, k, s.Handshake(), creds); err == nil {
			return violated("a client "+who+" is refused", "Describe was answered", "require and verify the client's certificate")
		}
	}
	return nil
}

func callAsStranger(ctx context.Context, k *kit, h supervisor.Handshake, creds credentials.TransportCredentials) error {
	ctx, cancel := k.patience(ctx)
	defer cancel()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, h.Network, h.Address)
	}
	conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = protocol.NewClient(conn).Describe(ctx, &pluginv1.DescribeRequest{})
	return err
}

func checkAddress(ctx context.Context, k *kit) error {
	met := k.meet(ctx)
	if met.startErr != nil {
		return met.startErr
	}
	h := met.handshake
	if h.Network == "unix" {
		if !filepath.IsAbs(h.Address) {
			return violated("the absolute path of a socket", h.Address, "")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(h.Address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return violated("an address on the loopback interface", h.Address, "listen on a unix socket, or on 127.0.0.1")
	}
	return nil
}

func checkStartTime(ctx context.Context, k *kit) error {
	met := k.meet(ctx)
	if met.startErr != nil {
		return met.startErr
	}
	took := met.took.Round(time.Millisecond)
	if took > quickStart {
		return violated(fmt.Sprintf("a start within %v", quickStart), took.String(), "load what is large or remote in Configure, or at the first step")
	}
	return note("started in " + took.String())
}
