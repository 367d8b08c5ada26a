"""A host for one plugin, in this process and over a real connection."""

import concurrent.futures
import json
import os
import queue
import tempfile

import grpc

from stephost import messages
from stephost.services import add_services


class Host:
    """Serves a plugin until the test ends."""

    def __init__(self, test, plugin):
        directory = tempfile.TemporaryDirectory()
        address = f"unix:{os.path.join(directory.name, 'plugin')}"
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        add_services(server, plugin, lambda: None)
        server.add_insecure_port(address)
        server.start()
        channel = grpc.insecure_channel(address)
        test.addCleanup(directory.cleanup)
        test.addCleanup(lambda: server.stop(None).wait())
        test.addCleanup(channel.close)

        def method(kind, name, answer):
            path = f"/{messages.SERVICE}/{name}"
            return getattr(channel, kind)(path, lambda m: m.SerializeToString(), answer.FromString)

        self._describe = method("unary_unary", "Describe", messages.DescribeResponse)
        self._configure = method("unary_unary", "Configure", messages.ConfigureResponse)
        self._set_log_level = method("unary_unary", "SetLogLevel", messages.SetLogLevelResponse)
        self._execute = method("stream_stream", "Execute", messages.ExecuteResponse)

    def describe(self):
        return self._describe(messages.DescribeRequest(), timeout=30)

    def configure(self, config=None):
        raw = b"" if config is None else json.dumps(config).encode()
        return self._configure(messages.ConfigureRequest(config=raw, log_level="off"), timeout=30).diagnostics

    def set_log_level(self, level):
        self._set_log_level(messages.SetLogLevelRequest(log_level=level), timeout=30)

    def execute(self):
        return Exchange(self._execute)

    def run(self, **step):
        """Runs one step and returns its result."""
        exchange = self.execute()
        exchange.send(steps=[new_step(1, **step)])
        # Only then the half-close, which gives back what has not started.
        result = next(exchange.results())
        exchange.end()
        return result


class Exchange:
    """One Execute call."""

    def __init__(self, execute):
        self._requests = queue.Queue()
        self._responses = execute(iter(self._requests.get, None), timeout=30)
        self.heartbeats = []
        self.messages = 0

    def send(self, **request):
        self._requests.put(messages.ExecuteRequest(**request))

    def half_close(self):
        self._requests.put(None)

    def results(self):
        """Yields results until the plugin ends the stream."""
        for response in self._responses:
            self.messages += 1
            self.heartbeats.extend(response.heartbeats)
            yield from response.results

    def end(self):
        self.half_close()
        return list(self.results())


def new_step(number, **fields):
    step = {"namespace": "ns", "queue": "ns_queue", "message_id": 7, "attempt": 1, "input": b"{}", **fields}
    return {"id": number, **step}


def cancellation(number, reason):
    return {"id": number, "reason": messages.number("CancelReason", reason)}
