"""The life of a plugin process."""

import concurrent.futures
import logging
import os
import signal
import sys
import tempfile
import threading

import grpc

from . import log
from .certificate import self_signed
from .limits import MAX_MESSAGE_BYTES
from .services import add_services

_COOKIE = "b2f4c1f2-step-host-plugin-v1"
# Each stream occupies a thread for as long as it lives; the host keeps two, and
# opens others for a moment.
_CALLS = 32


def serve(plugin):
    """Serves until the host stops the process. Returns 1 outside of a host."""
    if os.environ.get("STEPHOST_PLUGIN") != _COOKIE:
        command = os.path.abspath(sys.argv[0])
        print(
            f'{plugin.name} is a stephost plugin and runs inside a host: set command = "{command}" '
            "in a plugin block of config.hcl and start `stephost run --config config.hcl`",
            file=sys.stderr,
        )
        return 1
    # The first line on stdout is the handshake; nothing else belongs there.
    sys.stdout = sys.stderr
    log.install()
    # A signal to the whole group must not end handlers: the host drains first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    stopped = threading.Event()
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_CALLS, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    add_services(server, plugin, stopped.set)
    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.gettempdir()
    socket = os.path.join(directory, f"plugin{os.getpid()}")
    certificate = _listen(server, f"unix:{socket}")
    server.start()
    os.write(1, f"1|1|unix|{socket}|grpc|{certificate}\n".encode())

    parent = os.getppid()
    while not stopped.wait(1):
        # For whatever the host cannot kill.
        if os.getppid() != parent:
            os._exit(1)
    code = plugin.finish()
    logging.shutdown()
    # Not sys.exit, which would wait for handlers that do not end.
    os._exit(code)


def _listen(server, address):
    """Binds the address, with mutual TLS where the host gave a certificate.

    Returns the server's own for the handshake line.
    """
    client = os.environ.get("PLUGIN_CLIENT_CERT")
    if not client:
        server.add_insecure_port(address)
        return ""
    try:
        key, pem, line = self_signed()
    except ImportError:
        sys.exit('TLS needs the package cryptography (Debian: python3-cryptography): install it, or set tls = "off"')
    credentials = grpc.ssl_server_credentials([(key, pem)], client.encode(), require_client_auth=True)
    server.add_secure_port(address, credentials)
    return line
