package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// runTestPlugin is the main function of the test plugin.
func runTestPlugin(mode string) {
	if mode == "daemon-child" {
		outliveParent()
		return
	}
	if os.Getenv(protocol.CookieKey) != protocol.CookieValue {
		byHand(mode)
		return
	}
	terminated := make(chan os.Signal, 1)
	if mode != "dies-by-signal" {
		signal.Notify(terminated, syscall.SIGTERM)
	}
	switch mode {
	case "late":
		time.Sleep(3100 * time.Millisecond)
	case "prints":
		fmt.Println("hello from a library")
	case "exits":
		os.Exit(3)
	case "leaves-group":
		if err := syscall.Setpgid(0, os.Getppid()); err != nil {
			panic(err)
		}
	}
	slow, _ := time.ParseDuration(os.Getenv(slowVariable))
	p := &testPlugin{mode: mode, slow: slow}
	listener := listen(mode)
	server := grpc.NewServer(append(serverOptions(mode), credentialsFor(mode, listener)...)...)
	pluginv1.RegisterPluginServiceServer(server, p)
	checks := health.NewServer()
	if mode == "unhealthy" {
		checks.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	}
	if mode != "no-health" {
		healthpb.RegisterHealthServer(server, checks)
	}
	if mode == "daemon" {
		startDaemon(listener)
	}
	go func() {
		for range terminated {
			if mode != "stays" {
				server.Stop()
			}
		}
	}()
	_ = server.Serve(listener)
}

func byHand(mode string) {
	switch mode {
	case "by-hand-silent":
		os.Exit(1)
	case "by-hand-zero":
		fmt.Println("I am a plugin.")
	case "by-hand-stays":
		select {}
	default:
		fmt.Fprintln(os.Stderr, "I am a plugin.")
		os.Exit(1)
	}
}

func serverOptions(mode string) []grpc.ServerOption {
	if mode == "small-messages" {
		return nil
	}
	return protocol.ServerOptions()
}

func listen(mode string) net.Listener {
	network, address := "unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin.sock")
	if mode == "anywhere" {
		network, address = "tcp4", "0.0.0.0:0"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		panic(err)
	}
	return l
}

// credentialsFor prints the handshake line.
func credentialsFor(mode string, l net.Listener) []grpc.ServerOption {
	core, version, kind := 1, protocol.Version, "grpc"
	switch mode {
	case "next-version":
		version = 99
	case "other-core":
		core = 2
	case "net-rpc":
		kind = "netrpc"
	}
	line := fmt.Sprintf("%d|%d|%s|%s|%s", core, version, l.Addr().Network(), l.Addr(), kind)
	client := os.Getenv("PLUGIN_CLIENT_CERT")
	if client == "" && mode != "always-tls" || mode == "no-certificate" {
		fmt.Println(line)
		return nil
	}
	certificate := selfSigned()
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if mode != "any-client" && client != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM([]byte(client))
	}
	fmt.Printf("%s|%s\n", line, base64.RawStdEncoding.EncodeToString(certificate.Certificate[0]))
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startDaemon starts a process that leaves the group and keeps the socket.
func startDaemon(l net.Listener) {
	file, err := l.(*net.UnixListener).File()
	if err != nil {
		panic(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{modeVariable + "=daemon-child"}
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

// outliveParent serves one connection after its parent's death. It ends by
// itself in any case.
func outliveParent() {
	parent := os.Getppid()
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		panic(err)
	}
	for end := time.Now().Add(20 * time.Second); os.Getppid() == parent && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = l.Accept()
}
