"""What an author declares, and the plugin's side of the conversation."""

import logging
import sys

from . import log, messages
from .config import decode_config, diagnose, schema_of
from .steps import Steps
from .text import MAX_NAME, clean_text

_CAPABILITIES = ("CAPABILITY_CANCEL", "CAPABILITY_HEARTBEAT", "CAPABILITY_EMIT")


class Plugin:
    """A set of step handlers.

    name and version are for people. config maps names to `Attribute`; without
    it the plugin takes no config block. concurrency is how many steps run at
    once, each in a thread of its own; the host honours it.
    """

    def __init__(self, name, version="0", *, config=None, concurrency=32):
        if concurrency < 1:
            raise ValueError("concurrency is a number from 1 on")
        self.name = name
        self.version = version
        self.concurrency = concurrency
        self.ready = False
        self.app = None
        self._config = config
        self._handlers = {}
        self._default = ""
        self._setup = None
        self._close = None
        self._configured = False

    def step(self, name, *, default=False):
        """Registers the decorated function for a step.

        It is called with a `Context` and the message, decoded from JSON, and
        returns the result, which is encoded as JSON. default marks the handler
        for messages that name no step; a plugin with one step needs no mark.
        """
        if not name or name in self._handlers:
            raise ValueError(f"step {name!r} has a handler already" if name else "a step needs a name")
        if default and self._default:
            raise ValueError(f"{self._default!r} is the default step already")

        def register(function):
            self._handlers[name] = function
            if default:
                self._default = name
            return function

        return register

    def setup(self, function):
        """Registers the decorated function for the configuration.

        It is called once with a dict; what it returns is ctx.app. An error
        keeps the plugin from starting; a `FieldError` points the user at the
        line.
        """
        self._setup = function
        return function

    def close(self, function):
        """Registers the decorated function for the end. It is called with
        what setup returned, after the last step."""
        self._close = function
        return function

    def run(self):
        """Serves the plugin until the host stops it, and then exits."""
        if not self._handlers:
            raise ValueError("a plugin needs at least one step")
        # Here, since somebody who runs a plugin by hand may not have gRPC.
        from . import serve

        sys.exit(serve.serve(self))

    def handler_for(self, step):
        """Returns the handler of a step, or None; no name means the default."""
        return self._handlers.get(step or self._default_step())

    def _default_step(self):
        return next(iter(self._handlers)) if len(self._handlers) == 1 else self._default

    @property
    def description(self):
        """The answer to Describe."""
        described = messages.DescribeResponse(
            name=clean_text(self.name, MAX_NAME),
            version=clean_text(self.version, MAX_NAME),
            max_concurrency=self.concurrency,
            capabilities=[messages.number("Capability", name) for name in _CAPABILITIES],
        )
        for name in self._handlers:
            described.steps.add(name=name, default=name == self._default_step())
        if self._config:
            described.config.CopyFrom(schema_of(self._config))
        return described

    def configure(self, raw, level):
        """Sets the plugin up. Returns diagnostics, or None the second time."""
        if self._configured:
            return None
        self._configured = True
        log.set_level(level)
        try:
            config = decode_config(self._config, raw)
            self.app = self._setup(config) if self._setup else config
        except Exception as error:
            logging.getLogger("setup").debug("setup failed", exc_info=True)
            return diagnose(error)
        self.steps = Steps(self.concurrency)
        self.ready = True
        return []

    def finish(self):
        """Runs the plugin's own clean-up and returns the exit code."""
        try:
            if self.ready and self._close:
                self._close(self.app)
        except Exception:
            logging.getLogger("close").exception("close plugin")
            return 1
        return 0
