import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest

import grpc

from stephost import messages

PROGRAM = """
import stephost
plugin = stephost.Plugin("fixture")
plugin.step("only")(lambda ctx, message: print("in the handler"))
plugin.run()
"""
COOKIE = {"STEPHOST_PLUGIN": "b2f4c1f2-step-host-plugin-v1"}


class ProcessTest(unittest.TestCase):
    def test_by_hand_it_explains_itself(self):
        run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
        self.assertEqual((1, ""), (run.returncode, run.stdout))
        self.assertRegex(run.stderr, r"\Afixture is a stephost plugin and runs inside a host: .*\n\Z")

    def test_it_leaves_signals_to_the_host_and_goes_when_its_parent_is_gone(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        # A shell in between stands for the host.
        parent = subprocess.Popen(
            ["sh", "-c", '"$0" -c "$1" & wait', sys.executable, PROGRAM],
            env={**os.environ, **COOKIE, "PLUGIN_UNIX_SOCKET_DIR": directory.name},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.addCleanup(parent.wait)
        self.addCleanup(parent.stdout.close)
        core, version, network, address, kind, certificate = parent.stdout.readline().rstrip("\n").split("|")
        self.assertEqual(("1", "1", "unix", "grpc", ""), (core, version, network, kind, certificate))

        pid = int(re.search(r"\d+$", address)[0])
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        with grpc.insecure_channel(f"unix:{address}") as channel:
            def call(method, request, answer):
                path = f"/{messages.SERVICE}/{method}"
                return channel.unary_unary(path, lambda m: m.SerializeToString(), answer.FromString)(request, timeout=30)

            described = call("Describe", messages.DescribeRequest(), messages.DescribeResponse)
            self.assertEqual("fixture", described.name)
            call("Configure", messages.ConfigureRequest(), messages.ConfigureResponse)
            execute = channel.stream_stream(
                f"/{messages.SERVICE}/Execute", lambda m: m.SerializeToString(), messages.ExecuteResponse.FromString)
            step = messages.ExecuteRequest(steps=[{"id": 1, "input": b"{}"}])
            next(execute(iter([step]), timeout=30))

        parent.kill()
        # The plugin held the other end, and printed nothing there.
        ended, _, _ = select.select([parent.stdout], [], [], 30)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        self.assertTrue(ended, "it outlives its parent")
        self.assertEqual("", parent.stdout.read())
